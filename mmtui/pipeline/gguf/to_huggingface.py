"""Conversion of a GGUF to a folder in Hugging Face's layout, for torch.

transformers can read GGUF, but takes 15 s instead of 4 s and restores the tokenizer wrongly: it
does not split digits, adds a BOS token, and uses `<|im_start|>` as EOS token.
"""

import json
from pathlib import Path
from typing import Any

from mmtui.errors import InputError
from mmtui.pipeline.assets import derived, fetch
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.assets.file_names import WEIGHTS_FILE
from mmtui.pipeline.gguf import conversion, layout, vocabulary
from mmtui.pipeline.tokenizer import FILES

REVISION = 1  # of the conversion; increase it to convert all cached models again


def convert(source: Path, digest: str, report: Report = fetch.ignore_progress) -> Path:
    """Convert a GGUF to bf16 in Hugging Face's layout, in the cache.

    Args:
        source: The GGUF.
        digest: The SHA-256 of the GGUF.
        report: Receives the progress.

    Raises:
        InputError: The file is not a GGUF of a supported model.
    """
    tokenizer_files = [file for name in FILES if (file := source.parent / name).exists()]
    name = f"{source.stem}-{digest[:12]}-{REVISION}"
    if tokenizer_files:
        name += f"-{derived.hash_files(tokenizer_files)}"
    needed = 3 * source.stat().st_size
    return derived.ensure_folder(name, needed, lambda work: _write(source, work, report))


def _write(source: Path, folder: Path, report: Report) -> None:
    import torch
    from gguf.quants import dequantize

    reader = layout.open_gguf(source)
    metadata = layout.Metadata(reader)
    has_config = (source.parent / "config.json").exists()  # in folders that mmtrain has written
    if not has_config and metadata.values.get("tokenizer.ggml.pre") != "smollm":
        raise InputError(f"{source} is not a GGUF of the SmolLM2 family")
    total = sum(int(tensor.n_bytes) for tensor in reader.tensors)
    done, weights = 0, {}
    for tensor in reader.tensors:
        report("unpacking the language model (once)", done, total)
        array = dequantize(tensor.data, tensor.tensor_type)
        if (heads := metadata.count_heads(tensor.name)) is not None:
            array = layout.separate_heads(array, heads)
        names = layout.get_modules(metadata.architecture, tensor.name)
        leaf = tensor.name.rpartition(".")[2]
        sizes = metadata.split_rows(names, len(array))
        for name, part in zip(names, torch.split(torch.from_numpy(array), sizes), strict=True):
            weights[f"{name}.{leaf}"] = part.to(torch.bfloat16).contiguous()
        done += int(tensor.n_bytes)
    fetch.save_tensors(weights, folder / WEIGHTS_FILE)
    if has_config:
        conversion.copy_tokenizer(source.parent, folder)
    else:
        config = json.dumps(_make_config(metadata.values, "lm_head.weight" in weights))
        (folder / "config.json").write_text(config)
        vocabulary.restore_tokenizer(metadata.values, folder)
    report("unpacking the language model (once)", total, total)


def _make_config(metadata: dict[str, Any], untied: bool) -> dict[str, Any]:
    """Return the content of config.json; `untied`: the output layer is not the embedding."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "hidden_act": "silu",
        "vocab_size": len(metadata["tokenizer.ggml.tokens"]),
        "hidden_size": metadata["llama.embedding_length"],
        "intermediate_size": metadata["llama.feed_forward_length"],
        "num_hidden_layers": metadata["llama.block_count"],
        "num_attention_heads": metadata["llama.attention.head_count"],
        "num_key_value_heads": metadata["llama.attention.head_count_kv"],
        "max_position_embeddings": metadata["llama.context_length"],
        "rms_norm_eps": metadata["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": metadata["llama.rope.freq_base"],
        "tie_word_embeddings": not untied,
        "bos_token_id": metadata["tokenizer.ggml.bos_token_id"],
        "eos_token_id": metadata["tokenizer.ggml.eos_token_id"],
        "pad_token_id": metadata["tokenizer.ggml.padding_token_id"],
    }
