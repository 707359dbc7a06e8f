"""The causal language model: its weights, its precision, its adapter."""

import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from mmtui.compat.transformers_hooks import import_transformers, quantize_linear_layers
from mmtui.errors import InputError, MmtuiError
from mmtui.files import without_byte_order_marks
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.assets.spec import Part, Precision
from mmtui.pipeline.assets.weight_files import WeightFiles
from mmtui.pipeline.engines import torch_adapter
from mmtui.pipeline.tokenizer import (
    ChatTokenizer,
    StreamDecoder,
    find_end_tokens,
    read_processor_template,
)


@dataclass(frozen=True)
class TorchLanguage:
    """A transformers causal language model in eval mode."""

    model: Any  # transformers.PreTrainedModel
    tokenizer: ChatTokenizer
    precision: Precision
    stop_ids: frozenset[int]

    def make_decoder(self) -> StreamDecoder:
        """Return what decodes an answer, one token after the other."""
        return StreamDecoder(self.tokenizer.backend_tokenizer)

    @property
    def embedding(self) -> nn.Embedding:
        """The input embeddings."""
        embedding: nn.Embedding = self.model.get_input_embeddings()
        return embedding

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        device: torch.device = self.embedding.weight.device
        return device

    @property
    def device_name(self) -> str:
        """The kind of this device: "cpu", "cuda"."""
        return self.device.type

    @property
    def hidden_size(self) -> int:
        """The size of a token's embedding."""
        return self.embedding.embedding_dim

    @property
    def context_length(self) -> int:
        """The number of positions that the model was trained for."""
        return int(getattr(self.model.config, "max_position_embeddings", 2048))

    @property
    def weight_type(self) -> str:
        """The precision of most weights."""
        return self.precision

    @property
    def bytes_per_token(self) -> int:
        """The bytes of weights that are read to decode a token."""
        table = self.embedding.weight
        is_tied = self.model.get_output_embeddings().weight is table
        return sum(
            _count_bytes(weight)
            for weight in self.model.parameters()
            if is_tied or weight is not table
        )


def _count_bytes(weight: torch.Tensor) -> int:
    """Return the bytes of a weight; a quantized one has an 8-bit scale for each 64 numbers."""
    scales = getattr(getattr(weight, "quant_state", None), "absmax", None)
    return weight.nbytes + (0 if scales is None else scales.nbytes)


def load(
    folder: Path,
    *,
    part: Part | None = None,
    precision: Precision = "auto",
    adapter: Path | None = None,
    device: torch.device | None = None,
    report: Report = ignore_progress,
) -> TorchLanguage:
    """Load a model with safetensors weights, and apply a PEFT adapter to it.

    Args:
        folder: Folder in Hugging Face's layout.
        part: The part of the model in the folder that is the language model; None for all of it.
        precision: The precision to compute in; "auto" chooses by memory and device.
        adapter: Folder of a PEFT adapter, which is merged into the weights unless they are 4-bit.
        device: Where to compute; by default the GPU, if there is one.
        report: Called as tensors are loaded.

    Raises:
        InputError: The folder holds no model that can be loaded, or the adapter doesn't fit.
        MissingError: A file that the index of the weights names is missing.
        MmtuiError: The model can't compute in this precision.
    """
    auto = import_transformers()
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = _load_config(folder, part)
    try:
        tokenizer = load_tokenizer(folder)
    except Exception as error:  # transformers raises nearly anything on damaged files
        exists = (folder / "tokenizer.json").exists()
        reason = error if exists else "tokenizer.json is missing"
        raise InputError(
            f"the tokenizer in {folder} can't be read: {reason}", _TOKENIZER_HINT
        ) from error
    if not tokenizer.is_fast:
        raise InputError(f"the tokenizer in {folder} has no tokenizer.json", _TOKENIZER_HINT)
    files = WeightFiles(folder, part)
    if precision == "auto":
        precision = _choose_precision(files.count_bytes(), device)
    if precision == "fp16" and config.model_type == "phi":
        raise MmtuiError(
            "Phi can't run in fp16: its activations overflow and the answers are noise",
            'set "precision" in spec.json to bf16, fp32 or nf4',
        )
    if precision == "nf4" and device.type == "cpu":
        _return_freed_memory()
    model = _create_empty(auto, config, precision)
    _load_weights(model, files, _DTYPES[precision], device, report)
    if missing := [name for name, weight in model.named_parameters() if weight.is_meta]:
        names = ", ".join(missing[:3])
        raise InputError(f"{folder} lacks the weights {names}", "fetch it again")
    model.to(device)
    if adapter is not None:
        model = torch_adapter.apply(model, adapter)
    model.eval().requires_grad_(False)
    ends = find_end_tokens(folder, config.eos_token_id, tokenizer.eos_token_id)
    return TorchLanguage(model, tokenizer, precision, ends)


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a folder in Hugging Face's layout.

    Returns:
        A `transformers.PreTrainedTokenizerBase`.

    Raises:
        Exception: A file is missing or damaged; transformers raises nearly anything then.
    """
    with without_byte_order_marks(folder) as readable:
        tokenizer = import_transformers().AutoTokenizer.from_pretrained(readable, **_LOCAL_ONLY)
    if (template := read_processor_template(folder)) is not None:
        tokenizer.chat_template = template
    return tokenizer


def _load_config(folder: Path, part: Part | None) -> Any:
    """Load the configuration of the language model in a folder.

    Raises:
        InputError: There is none, or only code that comes with the model can read it.
    """
    try:
        with without_byte_order_marks(folder) as readable:
            config = import_transformers().AutoConfig.from_pretrained(readable, **_LOCAL_ONLY)
        return getattr(config, part.config) if part else config
    except Exception as error:  # transformers raises nearly anything on damaged files
        if "trust_remote_code" in str(error):
            raise InputError(
                f"the model in {folder} needs code of its own (trust_remote_code)",
                "mmtui never runs code that comes with a model",
            ) from error
        raise InputError(f"{folder} holds no language model that transformers knows") from error


# Without an explicit `trust_remote_code`, transformers asks the user in the terminal whether to run
# code that comes with a model.
_LOCAL_ONLY = {"local_files_only": True, "trust_remote_code": False}
_TOKENIZER_HINT = "download the model again, with its tokenizer.json"
_DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "nf4": torch.bfloat16,  # the type of computation, and of weights that are not quantized
}


def _choose_precision(stored_bytes: int, device: torch.device) -> Precision:
    """Return bf16, or nf4 if bf16 would not fit; fp32 on a GPU without bf16.

    Args:
        stored_bytes: The size of the weights' files. Nearly all models store 16 bits per weight.
        device: Where the model computes.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            return "fp32" if 2 * stored_bytes < 0.9 * free else "nf4"
    else:
        free = psutil.virtual_memory().available
    return "bf16" if stored_bytes + 1e9 < free else "nf4"


def _create_empty(auto: Any, config: Any, precision: Precision) -> Any:
    """Create a model whose parameters are on the meta device; buffers (rotary tables) are real.

    Raises:
        InputError: The configuration is not one of a causal language model.
    """
    from transformers.integrations.accelerate import init_empty_weights

    config.dtype = _DTYPES[precision]
    try:
        with init_empty_weights():
            model = auto.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # transformers raises nearly anything on a damaged config
        raise InputError(
            f"this {config.model_type} is no causal language model: {error}"
        ) from error
    return quantize_linear_layers(model) if precision == "nf4" else model


def _load_weights(
    model: Any, files: WeightFiles, dtype: torch.dtype, device: torch.device, report: Report
) -> None:
    """Read, cast and quantize the weights, one tensor at a time."""
    parameters = dict(model.named_parameters())
    persistent = dict.fromkeys(model.state_dict())  # rotary tables are not: they are computed
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in persistent}
    prefix = f"{model.base_model_prefix}."  # which some files leave out of the names
    for number, (name, empty) in enumerate((parameters | buffers).items()):
        report("loading the language model", number, len(parameters))
        stored = name if name in files.names else name.removeprefix(prefix)
        if stored in files.names:
            tensor = files.read(stored, getattr(empty, "full_shape", empty.shape))
            _set_tensor(model, name, tensor, dtype, device)
            del tensor
    report("loading the language model", 1, 1)
    model.tie_weights()


def _set_tensor(
    model: nn.Module, name: str, tensor: torch.Tensor, dtype: torch.dtype, device: torch.device
) -> None:
    """Store a parameter or buffer in the model, quantized if its layer is."""
    parent, _, leaf = name.rpartition(".")
    module: Any = model.get_submodule(parent)
    if leaf == "weight" and type(module).__name__ == "Linear4bit":
        from bitsandbytes.nn import Params4bit

        # The stored type is quantized directly: casting it first would only take longer.
        module.weight = Params4bit(
            tensor, requires_grad=False, quant_type="nf4", compress_statistics=True, module=module
        ).to(device)
        module.weight.quant_state.dtype = dtype
        return
    mapped = tensor.data_ptr()
    tensor = tensor.to(device, dtype if tensor.is_floating_point() else None)
    if tensor.data_ptr() == mapped:  # it is still a view of the file
        tensor = tensor.clone()
    if leaf in module._buffers:
        module._buffers[leaf] = tensor
    else:
        setattr(module, leaf, nn.Parameter(tensor, requires_grad=False))


def _return_freed_memory() -> None:
    """Have glibc return freed tensors to the system.

    After a large block is freed, glibc allocates blocks of up to 32 MB from a heap that fragments:
    the temporary tensors of quantizing Phi-2 would leave 1.4 GiB behind.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        threshold_option, four_mib = -3, 4 << 20  # M_MMAP_THRESHOLD, mallopt(3)
        libc.mallopt(threshold_option, four_mib)
