"""The causal language model: its weights, its precision, its adapter."""

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from mmtui.compat.transformers_hooks import import_transformers, quantize_linear_layers
from mmtui.errors import InputError, MissingError, MmtuiError
from mmtui.files import read_json, without_byte_order_marks
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.assets.spec import Precision
from mmtui.pipeline.engines import torch_adapter
from mmtui.pipeline.tokenizer import ChatTokenizer, StreamDecoder, find_end_tokens


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
    precision: Precision = "auto",
    adapter: Path | None = None,
    device: torch.device | None = None,
    report: Report = ignore_progress,
) -> TorchLanguage:
    """Load a model with safetensors weights, and apply a PEFT adapter to it.

    Args:
        folder: Folder in Hugging Face's layout.
        precision: The precision to compute in; "auto" chooses by memory and device.
        adapter: Folder of a PEFT adapter, which is merged into the weights unless they are 4-bit.
        device: Where to compute; by default the GPU, if there is one.
        report: Called as tensors are loaded.

    Raises:
        InputError: The folder holds no model that can be loaded, or the adapter doesn't fit.
        MmtuiError: The model can't compute in this precision.
    """
    auto = import_transformers()
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with without_byte_order_marks(folder) as readable:
            config = auto.AutoConfig.from_pretrained(readable, **_LOCAL_ONLY)
        tokenizer = load_tokenizer(folder)
    except Exception as error:  # transformers raises nearly anything on damaged files
        raise InputError(f"{folder} holds no language model that transformers knows") from error
    if not tokenizer.is_fast:
        raise InputError(f"the tokenizer in {folder} has no tokenizer.json")
    files = _map_tensors(folder)
    if precision == "auto":
        size = sum(shard.stat().st_size for shard in set(files.values()))
        precision = _choose_precision(size, device)
    if precision == "fp16" and config.model_type == "phi":
        raise MmtuiError(
            "Phi can't run in fp16: its activations overflow and the answers are noise",
            'set "precision" in spec.json to bf16, fp32 or nf4',
        )
    if precision == "nf4" and device.type == "cpu":
        _return_freed_memory()
    model = _create_empty(auto, config, precision)
    prefix = f"{model.base_model_prefix}."
    read = partial(_read_tensor, folder, files, prefix)
    _load_weights(model, read, _DTYPES[precision], device, report)
    if missing := [name for name, weight in model.named_parameters() if weight.is_meta]:
        raise InputError(f"{folder} lacks the weights {', '.join(missing[:3])}")
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
        return import_transformers().AutoTokenizer.from_pretrained(readable, **_LOCAL_ONLY)


# Without an explicit `trust_remote_code`, transformers asks the user in the terminal whether to run
# code that comes with a model.
_LOCAL_ONLY = {"local_files_only": True, "trust_remote_code": False}
_DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "nf4": torch.bfloat16,  # the type of computation, and of weights that are not quantized
}


def _map_tensors(folder: Path) -> dict[str, Path]:
    """Return the safetensors file of each tensor, by the tensor's name.

    Raises:
        InputError: There are no safetensors files, or one is damaged.
        MissingError: The index lists tensors that no file has.
    """
    from safetensors import SafetensorError, safe_open

    shards = sorted(folder.glob(checkpoint.WEIGHTS_PATTERN))
    if not shards:
        raise InputError(f"{folder} has no safetensors weights", "pickled weights are never loaded")
    names: dict[str, Path] = {}
    for shard in shards:
        try:
            with safe_open(shard, framework="pt") as tensors:
                names |= dict.fromkeys(tensors.keys(), shard)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{shard} is damaged: {error}", "fetch it again") from error
    index = folder / checkpoint.WEIGHTS_INDEX_FILE
    if index.exists():
        try:
            expected = read_json(index)["weight_map"].keys()
        except (InputError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{index} is damaged", "fetch it again") from error
        if missing := expected - names.keys():
            raise MissingError(f"{folder} lacks {len(missing)} tensors", "fetch it again")
    return names


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


# Returns the tensor of a name and shape, or None if no file has it.
ReadTensor = Callable[[str, torch.Size], torch.Tensor | None]


def _read_tensor(
    folder: Path, files: dict[str, Path], prefix: str, name: str, shape: torch.Size
) -> torch.Tensor | None:
    """Read a tensor from its file, which is opened again for each tensor.

    While a file is open, all that was read from it counts as resident memory: Phi-2 would need
    10 GiB to load instead of 6.

    Args:
        folder: The model's folder, for messages.
        files: The file of each tensor, by the tensor's name.
        prefix: Prefix of the base model, which some files leave out of the names.
        name: The tensor's name in the model.
        shape: The tensor's shape in the model.

    Raises:
        InputError: The file is damaged, or the tensor has another shape.
    """
    from safetensors import SafetensorError, safe_open

    stored = name if name in files else name.removeprefix(prefix)
    if stored not in files:
        return None
    try:
        with safe_open(files[stored], framework="pt") as tensors:
            tensor: torch.Tensor = tensors.get_tensor(stored)
    except SafetensorError as error:
        raise InputError(f"{files[stored]} is damaged: {error}", "fetch it again") from error
    if tensor.shape != shape:
        raise InputError(f"{stored} in {folder} is {tuple(tensor.shape)}, not {tuple(shape)}")
    return tensor


def _load_weights(
    model: Any, read: ReadTensor, dtype: torch.dtype, device: torch.device, report: Report
) -> None:
    """Read, cast and quantize the weights, one tensor at a time."""
    parameters = dict(model.named_parameters())
    persistent = dict.fromkeys(model.state_dict())  # rotary tables are not: they are computed
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in persistent}
    for number, (name, empty) in enumerate((parameters | buffers).items()):
        report("loading the language model", number, len(parameters))
        tensor = read(name, getattr(empty, "full_shape", empty.shape))
        if tensor is not None:
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
