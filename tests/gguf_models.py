"""Small GGUFs with random weights and their own tokenizers."""

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from gguf import GGUFValueType, GGUFWriter, TokenType

WIDTH, INNER, LAYERS, HEADS, KV_HEADS, CONTEXT = 64, 128, 2, 4, 2, 4096
ARCHITECTURES = ("llama", "qwen2")
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Has no BOS token, which the vocabulary asks for.
LLAMA_2 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + eos_token }}"
    "{% else %}{{ raise_exception('there is no system role') }}{% endif %}{% endfor %}"
)
TEMPLATES = {"llama": LLAMA_2, "qwen2": CHATML, "qwen2vl": CHATML, "mamba": CHATML}
TEXT = "What is in this picture ? A dog and a cat are in it . The answer number"
WORDS = TEXT.split()


def write_gguf(
    path: Path,
    architecture: str = "llama",
    template: str | None = "",
    seed: int = 0,
    tensors_per_file: int = 0,
    basename: str = "",
) -> Path:
    """Write a model of a few hundred kilobytes.

    Args:
        path: The file to write.
        architecture: "llama" with a SentencePiece vocabulary, "qwen2" with byte-level BPE,
            "qwen2vl", which has M-RoPE, or "mamba", which is recurrent.
        template: Its chat template, by default one that suits it; None for a file without one.
        seed: Seed of the weights.
        tensors_per_file: How many tensors each file of a split model has; 0 for one file.
        basename: What its metadata names the model.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, architecture, split_max_tensors=tensors_per_file)
    if basename:
        writer.add_basename(basename)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(0)
    vocabulary = _add_sentencepiece(writer) if architecture == "llama" else add_bpe(writer)
    if template is not None:
        writer.add_chat_template(template or TEMPLATES[architecture])
    draw = np.random.default_rng(seed)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(f"{name}.weight", draw.normal(0, 0.2, shape).astype(np.float32))

    def add_vector(name: str, size: int, value: float = 1.0) -> None:
        writer.add_tensor(name, np.full(size, value, np.float32))

    add("token_embd", vocabulary, WIDTH)
    add("output", vocabulary, WIDTH)
    add_vector("output_norm.weight", WIDTH)
    if architecture == "mamba":
        _add_mamba_layers(writer, draw)
    else:
        writer.add_feed_forward_length(INNER)
        writer.add_head_count(HEADS)
        writer.add_head_count_kv(KV_HEADS)
        writer.add_rope_dimension_count(WIDTH // HEADS)
        if architecture == "qwen2vl":
            writer.add_rope_dimension_sections([2, 3, 3, 0])
        for number in range(LAYERS):
            block = f"blk.{number}"
            add_vector(f"{block}.attn_norm.weight", WIDTH)
            add_vector(f"{block}.ffn_norm.weight", WIDTH)
            add(f"{block}.attn_q", WIDTH, WIDTH)
            add(f"{block}.attn_k", WIDTH * KV_HEADS // HEADS, WIDTH)
            add(f"{block}.attn_v", WIDTH * KV_HEADS // HEADS, WIDTH)
            add(f"{block}.attn_output", WIDTH, WIDTH)
            add(f"{block}.ffn_gate", INNER, WIDTH)
            add(f"{block}.ffn_up", INNER, WIDTH)
            add(f"{block}.ffn_down", WIDTH, INNER)
            if architecture.startswith("qwen2"):
                for part, size in (("q", WIDTH), ("k", WIDTH // 2), ("v", WIDTH // 2)):
                    add_vector(f"{block}.attn_{part}.bias", size, 0.1)
    finish(writer)
    return path


def _add_mamba_layers(writer: GGUFWriter, draw: np.random.Generator) -> None:
    kernel, state, rank, inner = 4, 16, 8, 2 * WIDTH
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    for number in range(LAYERS):
        shapes = {
            "ssm_in.weight": (2 * inner, WIDTH),
            "ssm_conv1d.weight": (inner, kernel),
            "ssm_conv1d.bias": (inner,),
            "ssm_x.weight": (rank + 2 * state, inner),
            "ssm_dt.weight": (inner, rank),
            "ssm_dt.bias": (inner,),
            "ssm_out.weight": (WIDTH, inner),
        }
        for name, shape in shapes.items():
            values = draw.normal(0, 0.4, shape).astype(np.float32)
            writer.add_tensor(f"blk.{number}.{name}", values)
        decay = -0.01 * np.tile(np.arange(1, state + 1, dtype=np.float32), (inner, 1))
        writer.add_tensor(f"blk.{number}.ssm_a", decay)
        writer.add_tensor(f"blk.{number}.ssm_d", np.ones(inner, np.float32))
        writer.add_tensor(f"blk.{number}.attn_norm.weight", np.ones(WIDTH, np.float32))


def _add_sentencepiece(writer: GGUFWriter) -> int:
    """Add a vocabulary with byte tokens, a space in front of each text, and a BOS token."""
    pieces = ["▁", *{piece for word in WORDS for piece in (word, f"▁{word}")}]
    letters = sorted({letter for piece in pieces for letter in piece} - set(pieces))
    pieces = sorted(pieces, key=lambda piece: (len(piece), piece))
    # Merges go by pairs of neighbours: every beginning of a piece must be one, too.
    beginnings = {piece[:end] for piece in pieces for end in range(2, len(piece))} - set(pieces)
    plain = [*letters, *pieces, *sorted(beginnings)]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *plain]
    types = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL, *[TokenType.BYTE] * 256]
    types += [TokenType.NORMAL] * len(plain)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([float(len(token)) for token in tokens])
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)
    return len(tokens)


def add_bpe(writer: GGUFWriter, size: int = 0) -> int:
    """Add byte-level BPE with the special tokens of ChatML; return the size of the vocabulary.

    Args:
        writer: The writer of the model.
        size: The size that unused tokens fill up; 0 adds none.
    """
    from tokenizers.pre_tokenizers import ByteLevel

    alphabet = sorted(ByteLevel.alphabet())
    tokens, merges = list(alphabet), []
    for word in WORDS:
        piece = "Ġ"
        for letter in word:
            merges.append(f"{piece} {letter}")
            piece += letter
            tokens.append(piece)
    merges, tokens = list(dict.fromkeys(merges)), list(dict.fromkeys(tokens))
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens += [f"<unused {number}>" for number in range(size - len(tokens) - len(special))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([*tokens, *special])
    writer.add_token_types([TokenType.NORMAL] * len(tokens) + [TokenType.CONTROL] * len(special))
    writer.add_token_merges(merges)
    writer.add_eos_token_id(len(tokens) + 2)
    writer.add_pad_token_id(len(tokens))
    writer.add_add_bos_token(False)
    return len(tokens) + len(special)


class Tower(NamedTuple):
    """The shape of a vision tower."""

    hidden: int = 32
    inner: int = 64
    layers: int = 3
    heads: int = 2
    patch: int = 14


def write_mmproj(
    path: Path,
    width: int = WIDTH,
    seed: int = 1,
    side: int = 56,
    tower: Tower = Tower(),  # noqa: B008 - it can't be changed
    dtype: type[np.floating] = np.float32,
    **metadata: object,
) -> Path:
    """Write a CLIP with a projector of two layers, as LLaVA has, which computes `width` numbers.

    Args:
        path: The file to write.
        width: The size of the embeddings of the language model.
        seed: Seed of the weights.
        side: Side of the pictures that the tower reads, in pixels.
        tower: Its shape.
        dtype: The type of its matrices.
        metadata: More metadata, by key.
    """
    hidden, inner, size, heads, patch = tower
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, "clip")
    for key, value in {"clip.has_vision_encoder": True, **metadata}.items():
        writer.add_key_value(key, value, GGUFValueType.get_type(value))
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", True)
    writer.add_uint32("clip.vision.image_size", side)
    writer.add_uint32("clip.vision.patch_size", patch)
    writer.add_uint32("clip.vision.embedding_length", hidden)
    writer.add_uint32("clip.vision.feed_forward_length", inner)
    writer.add_uint32("clip.vision.projection_dim", width)
    writer.add_uint32("clip.vision.block_count", size)
    writer.add_uint32("clip.vision.attention.head_count", heads)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    draw = np.random.default_rng(seed)

    def add(name: str, *shape: int) -> None:
        is_matrix = len(shape) > 1 and "position" not in name
        values = draw.normal(0, 0.2, shape).astype(dtype if is_matrix else np.float32)
        writer.add_tensor(name, values)

    def add_norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(hidden, np.float32))
        writer.add_tensor(f"{name}.bias", np.zeros(hidden, np.float32))

    add("v.class_embd", hidden)
    add("v.patch_embd.weight", hidden, 3, patch, patch)
    add("v.position_embd.weight", (side // patch) ** 2 + 1, hidden)
    add_norm("v.pre_ln")
    for number in range(size):
        block = f"v.blk.{number}"
        add_norm(f"{block}.ln1")
        add_norm(f"{block}.ln2")
        for name, rows, columns in (
            ("attn_q", hidden, hidden), ("attn_k", hidden, hidden), ("attn_v", hidden, hidden),
            ("attn_out", hidden, hidden), ("ffn_up", inner, hidden), ("ffn_down", hidden, inner),
        ):  # fmt: skip
            add(f"{block}.{name}.weight", rows, columns)
            add(f"{block}.{name}.bias", rows)
    for layer, columns in ((0, hidden), (2, width)):
        add(f"mm.{layer}.weight", width, columns)
        add(f"mm.{layer}.bias", width)
    finish(writer)
    return path


def write_qwen_mmproj(path: Path, seed: int = 1) -> Path:
    """Write the vision tower of a Qwen2-VL, whose patches have positions in two dimensions."""
    size, hidden, inner, patch = 2, 32, 64, 14
    writer = GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "qwen2vl_merger")
    writer.add_bool("clip.use_gelu", True)
    writer.add_uint32("clip.vision.image_size", 560)
    writer.add_uint32("clip.vision.patch_size", patch)
    writer.add_uint32("clip.vision.embedding_length", hidden)
    writer.add_uint32("clip.vision.feed_forward_length", inner)
    writer.add_uint32("clip.vision.projection_dim", WIDTH)
    writer.add_uint32("clip.vision.block_count", size)
    writer.add_uint32("clip.vision.attention.head_count", 2)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    draw = np.random.default_rng(seed)
    shapes = {
        "v.patch_embd.weight": (hidden, 3, patch, patch),
        "v.patch_embd.weight.1": (hidden, 3, patch, patch),
        "mm.0.weight": (4 * hidden, 4 * hidden),
        "mm.0.bias": (4 * hidden,),
        "mm.2.weight": (WIDTH, 4 * hidden),
        "mm.2.bias": (WIDTH,),
    }
    for number in range(size):
        for name, rows, columns in (
            ("attn_q", hidden, hidden), ("attn_k", hidden, hidden), ("attn_v", hidden, hidden),
            ("attn_out", hidden, hidden), ("ffn_up", inner, hidden), ("ffn_down", hidden, inner),
        ):  # fmt: skip
            shapes[f"v.blk.{number}.{name}.weight"] = (rows, columns)
            shapes[f"v.blk.{number}.{name}.bias"] = (rows,)
    for name, shape in shapes.items():
        writer.add_tensor(name, draw.normal(0, 0.2, shape).astype(np.float32))
    norms = [f"v.blk.{number}.ln{part}" for number in range(size) for part in (1, 2)]
    for name in (*norms, "v.post_ln"):
        writer.add_tensor(f"{name}.weight", np.ones(hidden, np.float32))
        writer.add_tensor(f"{name}.bias", np.zeros(hidden, np.float32))
    finish(writer)
    return path


def write_audio_mmproj(
    path: Path, seed: int = 1, projector: str = "qwen2a", stack: int = 8
) -> Path:
    """Write an audio tower, an encoder like Whisper's.

    Args:
        path: The file to write.
        seed: Seed of the weights.
        projector: "qwen2a" of Qwen2-Audio, or "ultravox" or "voxtral", which stack frames.
        stack: How many frames are stacked. If the 1500 frames of 30 seconds (750 of "voxtral") are
            no multiple of it, llama.cpp expects one less than it computes, and aborts.
    """
    size, hidden, inner, mel = 2, 32, 64, 80
    writer = GGUFWriter(path, "clip")
    writer.add_bool("clip.has_audio_encoder", True)
    writer.add_bool("clip.has_vision_encoder", False)
    writer.add_string("clip.projector_type", projector)
    writer.add_uint32("clip.audio.num_mel_bins", mel)
    writer.add_uint32("clip.audio.projector.stack_factor", stack)
    writer.add_uint32("clip.audio.embedding_length", hidden)
    writer.add_uint32("clip.audio.feed_forward_length", inner)
    writer.add_uint32("clip.audio.projection_dim", WIDTH)
    writer.add_uint32("clip.audio.block_count", size)
    writer.add_uint32("clip.audio.attention.head_count", 2)
    writer.add_float32("clip.audio.attention.layer_norm_epsilon", 1e-5)
    draw = np.random.default_rng(seed)

    def add(name: str, *shape: int, std: float = 0.2) -> None:
        writer.add_tensor(name, draw.normal(0, std, shape).astype(np.float32))

    def add_norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(hidden, np.float32))
        writer.add_tensor(f"{name}.bias", np.zeros(hidden, np.float32))

    add("a.position_embd.weight", 1500, hidden)
    for number, channels in ((1, mel), (2, hidden)):
        add(f"a.conv1d.{number}.weight", hidden, channels, 3)
        add(f"a.conv1d.{number}.bias", hidden, 1)
    add_norm("a.post_ln")
    for number in range(size):
        block = f"a.blk.{number}"
        add_norm(f"{block}.ln1")
        add_norm(f"{block}.ln2")
        for name, rows, columns in (
            ("attn_q", hidden, hidden), ("attn_k", hidden, hidden), ("attn_v", hidden, hidden),
            ("attn_out", hidden, hidden), ("ffn_up", inner, hidden), ("ffn_down", hidden, inner),
        ):  # fmt: skip
            add(f"{block}.{name}.weight", rows, columns)
            if name != "attn_k":  # Whisper's keys have no bias
                add(f"{block}.{name}.bias", rows)
    add("mm.a.fc.weight", WIDTH, hidden, std=2.0)
    add("mm.a.fc.bias", WIDTH)
    if projector == "ultravox":
        for name, shape in {
            "mlp.1.weight": (2 * inner, stack * hidden),
            "mlp.2.weight": (WIDTH, inner),
            "norm_pre.weight": (stack * hidden,),
            "norm_mid.weight": (inner,),
        }.items():
            add(f"mm.a.{name}", *shape)
    elif projector == "voxtral":
        add("mm.a.mlp.1.weight", inner, stack * hidden)
        add("mm.a.mlp.2.weight", WIDTH, inner)
    finish(writer)
    return path


def finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def change_number(file: Path, key: str, value: int) -> None:
    """Replace a 32-bit number in the metadata of a GGUF."""
    data = bytearray(file.read_bytes())
    start = data.index(key.encode()) + len(key) + 4  # behind the number of its type
    data[start : start + 4] = struct.pack("<I", value)
    file.write_bytes(data)
