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
from mmtui.pipeline.gguf import lora
from mmtui.pipeline.tokenizer import ChatTokenizer, end_tokens


@dataclass(frozen=True)
class TorchLanguage:
    """A transformers causal language model in eval mode."""

    model: Any  # transformers.PreTrainedModel
    tokenizer: ChatTokenizer
    precision: Precision
    stop_ids: frozenset[int]

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
    """Return the bytes of a weight; a quantized one has a scale of 8 bits for 64 numbers."""
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
    """Load a Hugging Face directory with safetensors weights, and a PEFT adapter over it.

    Args:
        folder: Folder in Hugging Face's layout.
        precision: The precision to compute in; "auto" chooses by memory and device.
        adapter: Folder of a PEFT adapter, which is merged into the weights unless they are 4-bit.
        device: Where to compute; the GPU if there is one by default.
        report: Called as tensors are loaded.

    Raises:
        InputError: The folder holds no model that can be loaded, or the adapter doesn't fit.
        MmtuiError: The model can't compute in this precision.
    """
    auto = import_transformers()
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with without_byte_order_marks(folder) as readable:
            config = auto.AutoConfig.from_pretrained(readable, **_OFFLINE)
        tokenizer = tokenizer_in(folder)
    except Exception as error:  # transformers raises nearly anything on damaged files
        raise InputError(f"{folder} holds no language model that transformers knows") from error
    if not tokenizer.is_fast:
        raise InputError(f"the tokenizer in {folder} has no tokenizer.json")
    files = _weight_files(folder)
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
    model = _skeleton(auto, config, precision)
    prefix = f"{model.base_model_prefix}."
    read = partial(_read, folder, files, prefix)
    _fill(model, read, _DTYPES[precision], device, report)
    if still := [name for name, weight in model.named_parameters() if weight.is_meta]:
        raise InputError(f"{folder} lacks the weights {', '.join(still[:3])}")
    model.to(device)
    if adapter is not None:
        model = _adapt(model, adapter) if precision == "nf4" else _merge(model, adapter)
    model.eval().requires_grad_(False)
    ends = end_tokens(folder, config.eos_token_id, tokenizer.eos_token_id)
    return TorchLanguage(model, tokenizer, precision, ends)


def tokenizer_in(folder: Path) -> Any:
    """A Hugging Face directory's. transformers raises nearly anything on damaged files."""
    with without_byte_order_marks(folder) as readable:
        return import_transformers().AutoTokenizer.from_pretrained(readable, **_OFFLINE)


# Said outright: unsaid, transformers asks a user in a terminal whether to run a model's code.
_OFFLINE = {"local_files_only": True, "trust_remote_code": False}
_DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "nf4": torch.bfloat16,  # of what stays unquantized, and of the computation
}


def _weight_files(folder: Path) -> dict[str, Path]:
    """Tensor name -> safetensors file."""
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


def _choose_precision(half: int, device: torch.device) -> Precision:
    """bf16, or 4-bit where bf16 would not fit; fp32 on a GPU that can't do bf16.

    `half`: the bytes of the weights in 16 bits, as nearly all models come.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            return "fp32" if 2 * half < 0.9 * free else "nf4"
    else:
        free = psutil.virtual_memory().available
    return "bf16" if half + 1e9 < free else "nf4"


def _skeleton(auto: Any, config: Any, precision: Precision) -> Any:
    """The model without memory for its parameters; buffers (rotary tables) are real."""
    from transformers.integrations.accelerate import init_empty_weights

    config.dtype = _DTYPES[precision]
    try:
        with init_empty_weights():
            model = auto.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # a config may hold any nonsense
        raise InputError(
            f"this {config.model_type} is no causal language model: {error}"
        ) from error
    return quantize_linear_layers(model) if precision == "nf4" else model


# The tensor of a name and a shape; None if there is none.
Read = Callable[[str, torch.Size], torch.Tensor | None]


def _read(
    folder: Path, files: dict[str, Path], prefix: str, name: str, shape: torch.Size
) -> torch.Tensor | None:
    """From the file, which is opened anew for each tensor.

    As long as it is open, all that was read of it counts as resident memory, and Phi-2 would
    need 10 GiB to load instead of 6.
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


def _fill(model: Any, read: Read, dtype: torch.dtype, device: torch.device, report: Report) -> None:
    """Read, cast and quantize one tensor at a time."""
    parameters = dict(model.named_parameters())
    persistent = dict.fromkeys(model.state_dict())  # not the tables that are computed anew
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in persistent}
    for number, (name, empty) in enumerate((parameters | buffers).items()):
        report("loading the language model", number, len(parameters))
        tensor = read(name, getattr(empty, "full_shape", empty.shape))
        if tensor is not None:
            _put(model, name, tensor, dtype, device)
        del tensor
    report("loading the language model", 1, 1)
    model.tie_weights()


def _put(
    model: nn.Module, name: str, tensor: torch.Tensor, dtype: torch.dtype, device: torch.device
) -> None:
    parent, _, leaf = name.rpartition(".")
    module: Any = model.get_submodule(parent)
    if leaf == "weight" and type(module).__name__ == "Linear4bit":
        from bitsandbytes.nn import Params4bit

        # Quantized from the stored type: casting first only takes longer.
        module.weight = Params4bit(
            tensor, requires_grad=False, quant_type="nf4", compress_statistics=True, module=module
        ).to(device)
        module.weight.quant_state.dtype = dtype
        return
    mapped = tensor.data_ptr()
    tensor = tensor.to(device, dtype if tensor.is_floating_point() else None)
    if tensor.data_ptr() == mapped:  # it still lies in the file
        tensor = tensor.clone()
    if leaf in module._buffers:
        module._buffers[leaf] = tensor
    else:
        setattr(module, leaf, nn.Parameter(tensor, requires_grad=False))


def _return_freed_memory() -> None:
    """Have glibc give freed tensors back to the system.

    Once a large block was freed, glibc serves blocks of up to 32 MB from a heap that
    fragments: the temporary tensors of quantizing Phi-2 leave 1.4 GiB behind.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        threshold_option, four_mib = -3, 4 << 20  # M_MMAP_THRESHOLD, mallopt(3)
        libc.mallopt(threshold_option, four_mib)


def _merge(model: Any, adapter: Path) -> Any:
    """A plain LoRA added to the weights, without the second that importing PEFT takes.

    What is no plain LoRA on linear layers is left to PEFT, and so are errors.
    """
    from safetensors.torch import load_file

    try:
        factor = lora.read_scale(adapter)
        tensors = load_file(adapter / checkpoint.ADAPTER_WEIGHTS_FILE)
        odd = []
        pairs = []
        for name in [name for name in tensors if ".lora_A." in name]:
            layer = model.get_submodule(name.removeprefix("base_model.model.").split(".lora_A.")[0])
            low, high = tensors[name], tensors[name.replace(".lora_A.", ".lora_B.")]
            odd += [] if layer.weight.shape == (high.shape[0], low.shape[1]) else [name]
            pairs.append((layer, low, high))
    except Exception:  # safetensors and torch raise nearly anything on damaged files
        return _adapt(model, adapter)  # which tells
    if odd or factor is None:
        return _adapt(model, adapter)
    with torch.no_grad():
        for layer, low, high in pairs:
            added = (high.float() @ low.float()) * factor
            layer.weight += added.to(layer.weight.device, layer.weight.dtype)
    return model


def _adapt(model: Any, adapter: Path) -> Any:
    """Through PEFT; merged into the weights if they are not quantized."""
    from peft import PeftConfig, PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    weights = adapter / checkpoint.ADAPTER_WEIGHTS_FILE
    if not weights.exists():
        raise InputError(f"{adapter} has no {weights.name}")
    try:
        with without_byte_order_marks(adapter) as readable:
            kind = PeftConfig.from_pretrained(str(readable)).peft_type
            adapted = PeftModel.from_pretrained(model, str(readable))
        with safe_open(weights, framework="pt") as tensors:
            stray = set(tensors.keys()) ^ get_peft_model_state_dict(adapted).keys()
    except Exception as error:  # PEFT raises nearly anything on what does not fit
        raise InputError(f"the adapter in {adapter} does not fit: {error}") from error
    if kind != "LORA" or stray:  # PEFT itself ignores tensors that have no place
        what = f"{min(stray)} has no place" if stray else f"{kind} is no LoRA"
        raise InputError(f"the adapter in {adapter} does not fit: {what}")
    return adapted if getattr(model, "is_loaded_in_4bit", False) else adapted.merge_and_unload()
