"""A GGUF of the Llama family, converted once into a Hugging Face directory.

transformers reads GGUF too, but takes 15 s for what takes 4 s here, and rebuilds the
tokenizer wrongly: it forgets that digits are split one by one, adds a BOS, and takes
`<|im_start|>` for the end. The layout of the file is llama.cpp's.
"""

import json
from pathlib import Path
from typing import Any

from mmtui.errors import InputError
from mmtui.pipeline import assets
from mmtui.pipeline.assets import Report
from mmtui.pipeline.spec import Pin

# llama.cpp's names of the tensors of a layer, and those of transformers.
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_ENDS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
REVISION = 1  # of this conversion; a change here makes everyone convert anew
_CONTROL = 3  # llama.cpp's token type of special tokens


def convert(source: Path, digest: str, report: Report = assets.silent) -> Path:
    """The cached bf16 conversion of `source`, whose SHA-256 is `digest`.

    Raises InputError if the file is not a GGUF that we understand.
    """
    name = f"{source.stem}-{digest[:12]}-{REVISION}"
    target = assets.cache_dir() / "converted" / name
    if _is_intact(target):
        return target
    with assets.workspace(name, needed=3 * source.stat().st_size) as work:
        if not _is_intact(target):
            _write(source, work, report)
            files = [path for path in sorted(work.iterdir()) if path.is_file()]
            pins = [Pin(path.name, path.stat().st_size, assets.sha256(path)) for path in files]
            (work / "manifest.json").write_text(json.dumps([vars(pin) for pin in pins]))
            target.mkdir(parents=True, exist_ok=True)
            for path in [*files, work / "manifest.json"]:  # the manifest last: it vouches
                path.replace(target / path.name)
    return target


def _is_intact(target: Path) -> bool:
    try:
        pins = [Pin(**pin) for pin in json.loads((target / "manifest.json").read_bytes())]
    except (OSError, ValueError, TypeError):
        return False
    return bool(pins) and all(assets.intact(target / pin.name, pin) for pin in pins)


def _write(source: Path, folder: Path, report: Report) -> None:
    import torch
    from gguf import GGUFReader
    from gguf.quants import dequantize

    try:
        reader = GGUFReader(source)
    except (ValueError, IndexError, OSError) as error:
        raise InputError(f"{source} is not a readable GGUF: {error}") from error
    facts = {name: field.contents() for name, field in reader.fields.items()}
    if facts.get("general.architecture") != "llama" or facts.get("tokenizer.ggml.pre") != "smollm":
        raise InputError(f"{source} is not a GGUF of the SmolLM2 family")
    heads = {"attn_q": facts["llama.attention.head_count"]}
    heads["attn_k"] = facts["llama.attention.head_count_kv"]
    total = sum(int(tensor.n_bytes) for tensor in reader.tensors)
    done, weights = 0, {}
    for tensor in reader.tensors:
        report("unpacking the language model (once)", done, total)
        array = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        *layer, kind = tensor.name.removesuffix(".weight").removeprefix("blk.").split(".")
        name = f"model.layers.{layer[0]}.{_LAYER[kind]}" if layer else _ENDS[kind]
        if kind in heads:  # llama.cpp interleaves the two halves of each rotary pair
            rows, columns = array.shape
            pairs = array.view(heads[kind], rows // heads[kind] // 2, 2, columns)
            array = pairs.transpose(1, 2).reshape(rows, columns)
        weights[f"{name}.weight"] = array.to(torch.bfloat16).contiguous()
        done += int(tensor.n_bytes)
    assets.save_tensors(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(_config(facts, "lm_head.weight" in weights)))
    _tokenizer(facts, folder)
    report("unpacking the language model (once)", total, total)


def _config(facts: dict[str, Any], untied: bool) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "hidden_act": "silu",
        "vocab_size": len(facts["tokenizer.ggml.tokens"]),
        "hidden_size": facts["llama.embedding_length"],
        "intermediate_size": facts["llama.feed_forward_length"],
        "num_hidden_layers": facts["llama.block_count"],
        "num_attention_heads": facts["llama.attention.head_count"],
        "num_key_value_heads": facts["llama.attention.head_count_kv"],
        "max_position_embeddings": facts["llama.context_length"],
        "rms_norm_eps": facts["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": facts["llama.rope.freq_base"],
        "tie_word_embeddings": not untied,
        "bos_token_id": facts["tokenizer.ggml.bos_token_id"],
        "eos_token_id": facts["tokenizer.ggml.eos_token_id"],
        "pad_token_id": facts["tokenizer.ggml.padding_token_id"],
    }


def _tokenizer(facts: dict[str, Any], folder: Path) -> None:
    """Byte-level BPE; llama.cpp's pre-tokenizer `smollm` splits digits, then as GPT-2 does."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = facts["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in facts["tokenizer.ggml.merges"]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, fuse_unk=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = facts["tokenizer.ggml.token_type"]
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind == _CONTROL
        ]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=tokens[facts["tokenizer.ggml.bos_token_id"]],
        eos_token=tokens[facts["tokenizer.ggml.eos_token_id"]],
        pad_token=tokens[facts["tokenizer.ggml.padding_token_id"]],
        chat_template=facts["tokenizer.chat_template"],
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)
