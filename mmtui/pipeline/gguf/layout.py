"""Names and layouts of the tensors of `llama` and `phi2` models in GGUF and in transformers."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmtui.errors import InputError

ARCHITECTURES = {"llama": "llama", "phi": "phi2"}  # model_type -> llama.cpp's name
FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7, "bf16": 32}  # llama.h: llama_ftype
# llama.cpp's names of the modules of a layer, and of the first and last ones -> transformers'.
_LAYER = {
    "llama": {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    },
    "phi2": {
        "attn_norm": "input_layernorm",
        "attn_qkv": "self_attn.q_proj self_attn.k_proj self_attn.v_proj",  # concatenated
        "attn_output": "self_attn.dense",
        "ffn_up": "mlp.fc1",
        "ffn_down": "mlp.fc2",
    },
}
_ENDS = {
    "llama": {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"},
    "phi2": {
        "token_embd": "model.embed_tokens",
        "output_norm": "model.final_layernorm",
        "output": "lm_head",
    },
}


def get_modules(architecture: str, tensor: str) -> tuple[str, ...]:
    """Return the transformers modules that a tensor of a GGUF combines.

    Raises:
        InputError: The architecture has no such tensor.
    """
    stem = tensor.rpartition(".")[0]
    try:
        if not stem.startswith("blk."):
            return (_ENDS[architecture][stem],)
        _, number, part = stem.split(".")
        names = _LAYER[architecture][part].split()
        return tuple(f"model.layers.{int(number)}.{name}" for name in names)
    except (KeyError, ValueError) as error:
        raise InputError(f"a GGUF of {architecture} has no tensor {tensor}") from error


def get_unsupported_reason(config: Mapping[str, Any]) -> str | None:
    """Return why a model with this config can't be converted to GGUF, or None if it can."""
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        return f"its type is {kind}, not llama or phi"
    if config.get("rope_scaling"):
        return "its rotary positions are scaled"
    if config.get("qk_layernorm"):
        return "its queries and keys are normalized"
    activation = {"llama": "silu", "phi": "gelu_new"}[kind]
    if config.get("hidden_act", activation) != activation:
        return f"its activation is {config['hidden_act']}"
    return None


def map_tensors(config: Mapping[str, Any], stored: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Map the names of the tensors of a GGUF to the transformers tensors that each combines.

    Args:
        config: The content of config.json.
        stored: The names of the tensors in the safetensors files.

    Raises:
        InputError: A tensor is not part of this architecture.
    """
    architecture, names = ARCHITECTURES[config["model_type"]], set(stored)
    blocks = [f"blk.{n}.{part}" for n in range(int(config["num_hidden_layers"])) for part in
              _LAYER[architecture]]  # fmt: skip
    mapping: dict[str, tuple[str, ...]] = {}
    for stem in [*_ENDS[architecture], *blocks]:
        for leaf in ("weight", "bias"):
            sources = tuple(
                f"{name}.{leaf}" for name in get_modules(architecture, f"{stem}.{leaf}")
            )
            if names.issuperset(sources):
                mapping[f"{stem}.{leaf}"] = sources
    unknown = names.difference(*mapping.values())
    if stray := [name for name in unknown if not name.endswith(".rotary_emb.inv_freq")]:
        raise InputError(f"{min(stray)} has no place in a GGUF")
    if config.get("tie_word_embeddings", False):
        mapping.pop("output.weight", None)
    if architecture == "phi2":  # needs an output layer even if it equals the embedding
        mapping.setdefault("output.weight", ("model.embed_tokens.weight",))
    return mapping


def to_gguf_layout(config: Mapping[str, Any], name: str, values: np.ndarray) -> np.ndarray:
    """Interleave the rows of Llama's query and key tensors; return other tensors unchanged.

    Args:
        config: The content of config.json.
        name: The name of the tensor in transformers.
        values: The tensor, (out, in) or (out,).
    """
    if config["model_type"] != "llama":
        return values
    heads = int(config["num_attention_heads"])
    if ".k_proj." in name:
        heads = int(config.get("num_key_value_heads") or heads)
    elif ".q_proj." not in name:
        return values
    return interleave_heads(values, heads)


def interleave_heads(values: np.ndarray, heads: int) -> np.ndarray:
    """Reorder the rows of each head from halves to pairs for rotary position embeddings.

    transformers rotates the two halves of a head, llama.cpp adjacent pairs. Source: `permute` in
    llama.cpp's `convert_hf_to_gguf.py`.

    Args:
        values: The weight (out, in) or bias (out,) of a projection of queries or keys.
        heads: The number of heads.
    """
    halves = values.reshape(heads, 2, len(values) // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


def separate_heads(values: np.ndarray, heads: int) -> np.ndarray:
    """Undo `interleave_heads`."""
    pairs = values.reshape(heads, len(values) // heads // 2, 2, *values.shape[1:])
    return pairs.swapaxes(1, 2).reshape(values.shape)


def write_metadata(writer: Any, config: Mapping[str, Any], quantization: str) -> None:
    """Write the hyperparameters of a model.

    Args:
        writer: A `gguf.GGUFWriter`.
        config: The content of config.json; missing values have the defaults of transformers.
        quantization: The type of the weights.
    """
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    head = int(config.get("head_dim") or hidden // heads)
    writer.add_file_type(FILE_TYPES[quantization])
    writer.add_vocab_size(int(config["vocab_size"]))
    writer.add_context_length(int(config.get("max_position_embeddings", 2048)))
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_freq_base(float(config.get("rope_theta", 10000.0)))
    if config["model_type"] == "llama":
        writer.add_rope_dimension_count(head)
        writer.add_layer_norm_rms_eps(float(config.get("rms_norm_eps", 1e-6)))
    else:
        writer.add_rope_dimension_count(int(config.get("partial_rotary_factor", 0.5) * head))
        writer.add_layer_norm_eps(float(config.get("layer_norm_eps", 1e-5)))


def open_gguf(source: Path) -> Any:
    """Open a GGUF file with gguf's reader.

    Raises:
        InputError: The file is not a readable GGUF.
    """
    from gguf import GGUFReader

    try:
        return GGUFReader(source)
    except (ValueError, LookupError, OverflowError, OSError) as error:
        raise InputError(f"{source} is not a readable GGUF: {error}") from error


class Metadata:
    """The metadata of a GGUF of a supported architecture."""

    def __init__(self, reader: Any) -> None:
        """Read the metadata from a `gguf.GGUFReader`.

        Raises:
            InputError: The architecture is not supported.
        """
        self.values = {name: field.contents() for name, field in reader.fields.items()}
        self.architecture: str = self.values.get("general.architecture", "")
        if self.architecture not in _LAYER:
            raise InputError(f"a GGUF of the architecture {self.architecture!r} is not supported")

    def __getitem__(self, key: str) -> Any:
        return self.values[f"{self.architecture}.{key}"]

    def count_heads(self, tensor: str) -> int | None:
        """Return the number of heads of an interleaved tensor, or None for other tensors."""
        if self.architecture != "llama":
            return None
        if ".attn_q." in tensor:
            return int(self["attention.head_count"])
        return int(self["attention.head_count_kv"]) if ".attn_k." in tensor else None

    def split_rows(self, names: tuple[str, ...], total: int) -> list[int]:
        """Return the number of rows of each of the modules that a tensor combines.

        Args:
            names: The modules of transformers, as `get_modules` returns them.
            total: The number of rows of the tensor.
        """
        if len(names) == 1:
            return [total]
        heads, shared = int(self["attention.head_count"]), int(self["attention.head_count_kv"])
        head = total // (heads + 2 * shared)
        return [heads * head, shared * head, shared * head]
