"""Pictures through an mmproj, against the helper functions of llama.cpp's mtmd."""

import dataclasses
from collections.abc import Generator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from gguf_models import write_gguf, write_mmproj, write_qwen_mmproj
from mtmd_helper import MtmdHelper
from PIL import Image

from mmtui.errors import InputError, MissingError
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.engines import llama_language, mtmd_library, probe
from mmtui.pipeline.engines.llama_language import LlamaLanguage
from mmtui.pipeline.engines.llama_library import LlamaLibrary, find_packages, load_library
from mmtui.pipeline.engines.llamacpp_engine import LlamaEngine
from mmtui.pipeline.engines.mtmd_encoder import MtmdEncoder
from mmtui.pipeline.engines.sampling import GREEDY, Sampler
from mmtui.pipeline.prompt import ChatFormat, Turn
from mmtui.pipeline.reply import Reply
from mmtui.pipeline.sequence import PREFILL_CHUNK, to_positions
from mmtui.pipeline.vision.images import Picture

NEW, CONTEXT = 24, 1024
QUESTION = "What is in this picture?"

pytestmark = pytest.mark.skipif(not find_packages(), reason="llama.cpp is not installed")


@pytest.fixture(scope="module", params=find_packages())
def library(request: pytest.FixtureRequest) -> LlamaLibrary:
    if probe.find_outcome(request.param) == "crashes":
        pytest.skip(f"{request.param} crashes on this machine")
    return load_library(request.param)


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "model.gguf", request.param)


@pytest.fixture(scope="module")
def mmproj(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mmproj(tmp_path_factory.mktemp("mmproj") / "mmproj.gguf")


@pytest.fixture(scope="module")
def model(file: Path, library: LlamaLibrary) -> LlamaLanguage:
    extra = probe.find_outcome(library.package) == "works"
    return llama_language.load_gguf([file], library, extra_buffers=extra)


def make_picture(seed: int, size: tuple[int, int]) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    return Picture(f"picture {seed}", Image.fromarray(pixels))


def call_helper(
    model: LlamaLanguage, mmproj: Path, text: str, pictures: list[Picture]
) -> list[int]:
    """Return greedy tokens after a prompt with markers, as `llama-mtmd-cli` computes them."""
    return MtmdHelper(model, mmproj, CONTEXT).generate(text, pictures, NEW)


def render(model: LlamaLanguage, content: str) -> str:
    return model.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}],
        chat_template=model.tokenizer.chat_template,
        tokenize=False,
        add_generation_prompt=True,
    ).removeprefix("<s>")


def start(
    engine: LlamaEngine, turns: list[Turn], encoder: MtmdEncoder
) -> Generator[int | None, None, None]:
    pictures = [part for turn in turns for part in turn.content if isinstance(part, Picture)]
    encoded = {picture.sha256: encoder.encode(picture) for picture in pictures}
    layouts = {sha256: picture.layout for sha256, picture in encoded.items()}
    features = {sha256: picture.features for sha256, picture in encoded.items()}
    prompt = ChatFormat(engine.language.tokenizer).encode(turns)
    return engine.stream(to_positions(prompt, 0, layouts), features, Sampler(GREEDY))


def generate(engine: LlamaEngine, encoder: MtmdEncoder, turns: list[Turn]) -> list[int]:
    tokens = start(engine, turns, encoder)
    return list(islice((token for token in tokens if token is not None), NEW))


def test_answers_about_pictures_are_those_of_mtmd(model, mmproj):
    encoder, engine, seen = MtmdEncoder(model, mmproj), LlamaEngine(model), set()
    sizes = [(56, 56), (90, 31), (17, 240)]
    for number, size in enumerate(sizes):
        picture = make_picture(number, size)
        text = render(model, f"<__media__>\n{QUESTION}")
        expected = call_helper(model, mmproj, text, [picture])
        turns = [Turn("user", (picture, QUESTION))]
        assert generate(LlamaEngine(model), encoder, turns) == expected
        assert generate(engine, encoder, turns) == expected
        seen.add(tuple(expected))
    assert len(seen) == len(sizes)  # the pictures do matter
    pictures = [make_picture(number, (64, 48)) for number in (7, 8)]
    text = render(model, f"<__media__>\n{QUESTION}\n<__media__>")
    turns = [Turn("user", (pictures[0], QUESTION, pictures[1]))]
    assert generate(engine, encoder, turns) == call_helper(model, mmproj, text, pictures)


def test_pictures_are_encoded_once_and_their_cache_is_reused(file, mmproj):
    steps: list[tuple] = []
    found = checkpoint.find(f"{file} --mmproj {mmproj}")
    assistant = Assistant(found, lambda *progress: steps.append(progress))
    assert (assistant.picture_side, assistant.tokens_per_picture) == (56, 0)
    picture = make_picture(1, (60, 40))
    first = [Turn("user", (picture, f"{QUESTION} " * 8))]
    answer = list(assistant.reply(first, max_tokens=6))[-1]
    assert isinstance(answer, Reply)
    assert assistant.tokens_per_picture == 16
    assert assistant.has_encoded(picture.sha256)
    encoded = [step for step in steps if step[0] == "seeing"]
    second = [*first, Turn("assistant", (answer.text,)), Turn("user", ("And a dog?",))]
    again = list(assistant.reply(second, max_tokens=6))[-1]
    assert again.cached_tokens >= answer.prompt_tokens
    assert [step for step in steps if step[0] == "seeing"] == encoded


def test_a_model_without_its_mmproj_can_t_see(file):
    assistant = Assistant(checkpoint.find(str(file)))
    with pytest.raises(MissingError, match="model can't see: no mmproj") as error:
        assistant.load(pictures=True)
    assert "--mmproj FILE" in error.value.hint


def test_a_damaged_mmproj_is_reported_with_llama_cpp_s_reason(model, mmproj, tmp_path):
    broken = tmp_path / "mmproj.gguf"
    broken.write_bytes(mmproj.read_bytes().replace(b"vision.patch_size", b"vision.patch_xize"))
    with pytest.raises(InputError, match=r"can't load .*mmproj\.gguf: .*patch_size"):
        MtmdEncoder(model, broken)
    broken.write_bytes(mmproj.read_bytes()[:-1000])
    with pytest.raises(InputError, match="is cut off"):
        MtmdEncoder(model, broken)


def test_an_mmproj_for_embeddings_of_another_size_is_refused_by_llama_cpp_too(model, tmp_path):
    other = write_mmproj(tmp_path / "mmproj.gguf", width=96)
    with pytest.raises(InputError, match=r"can't load .*mismatch"):
        MtmdEncoder(model, other)


@pytest.fixture(scope="module")
def qwen(library: LlamaLibrary, tmp_path_factory: pytest.TempPathFactory) -> LlamaLanguage:
    """Load a model with M-RoPE."""
    file = write_gguf(tmp_path_factory.mktemp("qwen") / "model.gguf", "qwen2vl")
    extra = probe.find_outcome(library.package) == "works"
    return llama_language.load_gguf([file], library, extra_buffers=extra)


@pytest.fixture(scope="module")
def qwen_mmproj(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_qwen_mmproj(tmp_path_factory.mktemp("qwen") / "mmproj.gguf")


@pytest.mark.parametrize("size", [(112, 84), (84, 250), (700, 500)])
def test_positions_in_two_dimensions_are_those_of_mtmd(qwen, qwen_mmproj, size):
    encoder, engine = MtmdEncoder(qwen, qwen_mmproj), LlamaEngine(qwen)
    first, second = make_picture(1, size), make_picture(2, (90, 60))
    text = render(qwen, f"{QUESTION}\n<__media__>\n{QUESTION}\n<__media__>\nAnd?")
    expected = call_helper(qwen, qwen_mmproj, text, [first, second])
    turns = [Turn("user", (QUESTION, first, QUESTION, second, "And?"))]
    assert generate(LlamaEngine(qwen), encoder, turns) == expected
    assert generate(engine, encoder, turns) == expected
    # A second turn continues after the pictures, whose positions overlap.
    answer = "A dog."
    more = [*turns, Turn("assistant", (answer,)), Turn("user", ("What else?",))]
    assert generate(engine, encoder, more) == generate(LlamaEngine(qwen), encoder, more)
    other = [Turn("user", (QUESTION, first, "And a cat?"))]
    alone = call_helper(
        qwen, qwen_mmproj, render(qwen, f"{QUESTION}\n<__media__>\nAnd a cat?"), [first]
    )
    assert generate(engine, encoder, other) == alone


@pytest.mark.parametrize("size", [(112, 84), (84, 250), (700, 500)])
def test_a_copy_of_the_cache_has_positions_in_two_dimensions(qwen, qwen_mmproj, size):
    encoder, engine = MtmdEncoder(qwen, qwen_mmproj), LlamaEngine(qwen)
    turns = [Turn("user", (QUESTION, make_picture(1, size), QUESTION))]
    generate(engine, encoder, turns)
    copy, length = engine.copy_cache(100_000_000), len(engine.cached)
    assert copy is not None
    generate(engine, encoder, [Turn("user", (QUESTION,))])
    engine.restore_cache(copy)
    assert len(engine.cached) == length
    picture = make_picture(2, (90, 60))
    more = [*turns, Turn("assistant", ("A dog.",)), Turn("user", (picture, "What else?"))]
    assert generate(engine, encoder, more) == generate(LlamaEngine(qwen), encoder, more)


def test_a_picture_that_was_read_in_part_is_read_again(qwen, qwen_mmproj):
    encoder, engine = MtmdEncoder(qwen, qwen_mmproj), LlamaEngine(qwen)
    picture = make_picture(3, (700, 500))
    encoded = encoder.encode(picture)
    turns = [Turn("user", (QUESTION, picture, QUESTION))]
    prompt = ChatFormat(qwen.tokenizer).encode(turns)
    sequence = to_positions(prompt, 0, {picture.sha256: encoded.layout})
    features = {picture.sha256: encoded.features}
    stream = engine.stream(sequence, features, Sampler(GREEDY))
    assert next(stream) is None  # the first chunk ends in the picture
    start = next(at for at, place in enumerate(sequence) if not isinstance(place, int))
    assert start < PREFILL_CHUNK < start + len(encoded.features)
    assert engine.count_cached(sequence) == start
    assert generate(engine, encoder, turns) == generate(LlamaEngine(qwen), encoder, turns)


def decode_in_both_directions(model: LlamaLanguage, prompt: list, features: np.ndarray) -> list:
    """Return greedy tokens where the patches of a picture see each other, without the engine."""
    llama = model.library.functions
    options = llama.llama_context_default_params()
    options.n_ctx = options.n_batch = options.n_ubatch = CONTEXT
    options.n_threads = options.n_threads_batch = 1
    context = llama.llama_init_from_model(model.handle, options)
    start = next(at for at, place in enumerate(prompt) if not isinstance(place, int))
    end = start + len(features)
    past, new = 0, []

    def feed(tokens: list[int], patches: np.ndarray | None = None) -> None:
        nonlocal past
        count = len(tokens) if patches is None else len(patches)
        batch = llama.llama_batch_init(count, 0 if patches is None else patches.shape[1], 1)
        batch.n_tokens = count
        for index in range(count):
            if patches is None:
                batch.token[index] = tokens[index]
            batch.pos[index], batch.n_seq_id[index] = past + index, 1
            batch.seq_id[index][0], batch.logits[index] = 0, index == count - 1
        if patches is not None:
            np.ctypeslib.as_array(batch.embd, patches.shape)[:] = patches
        assert llama.llama_decode(context, batch) == 0
        llama.llama_batch_free(batch)
        past += count

    feed(prompt[:start])
    llama.llama_set_causal_attn(context, False)
    feed([], features)
    llama.llama_set_causal_attn(context, True)
    feed(prompt[end:])
    while True:
        logits = np.ctypeslib.as_array(llama.llama_get_logits(context), (model.vocabulary_size,))
        new.append(int(logits.argmax()))
        if len(new) == NEW:
            llama.llama_free(context)
            return new
        feed(new[-1:])


def test_patches_that_attend_in_both_directions_are_computed_together(model, tmp_path, monkeypatch):
    """The picture is longer than a batch of the engine, and starts within one."""
    functions = mtmd_library.load_mtmd(model.library)
    mmproj = write_mmproj(tmp_path / "mmproj.gguf", side=168)
    causal = MtmdEncoder(model, mmproj)
    picture = make_picture(5, (170, 150))
    turns = [Turn("user", (QUESTION * 3, picture, QUESTION))]
    as_text = generate(LlamaEngine(model), causal, turns)
    monkeypatch.setattr(functions, "mtmd_decode_use_non_causal", lambda *_: True)
    encoder = MtmdEncoder(model, mmproj)
    encoded = encoder.encode(picture)
    assert len(encoded.features) > PREFILL_CHUNK
    prompt = ChatFormat(model.tokenizer).encode(turns)
    sequence = to_positions(prompt, 0, {picture.sha256: encoded.layout})
    expected = decode_in_both_directions(model, sequence, encoded.features)
    engine = LlamaEngine(model)
    assert generate(engine, encoder, [Turn("user", (QUESTION,))])  # a context that is too small
    assert generate(engine, encoder, turns) == expected
    assert generate(engine, encoder, turns) == expected
    assert expected != as_text  # the direction does matter
    del model.tiles[picture.sha256]


@pytest.mark.parametrize("is_causal", [True, False])
def test_requests_with_pictures_are_answered_together(
    qwen, qwen_mmproj, tmp_path, model, monkeypatch, is_causal
):
    """With positions in two dimensions, and with patches that attend in both directions."""
    encoder = MtmdEncoder(qwen, qwen_mmproj) if is_causal else None
    if encoder is None:
        functions = mtmd_library.load_mtmd(model.library)
        monkeypatch.setattr(functions, "mtmd_decode_use_non_causal", lambda *_: True)
        encoder = MtmdEncoder(model, write_mmproj(tmp_path / "mmproj.gguf", side=168))
    language = dataclasses.replace(qwen if is_causal else model, precision="fp32")
    prompts = [
        [Turn("user", (make_picture(1, (300, 250)), QUESTION))],
        [Turn("user", (QUESTION * 30,))],
        [Turn("user", (QUESTION, make_picture(2, (90, 60)), "And?"))],
    ]
    expected = [generate(LlamaEngine(language), encoder, turns) for turns in prompts]
    engines = LlamaEngine(language).split(3, lambda _: None)
    streams = [start(*pair, encoder) for pair in zip(engines, prompts, strict=True)]
    answers: list[list[int]] = [[] for _ in streams]
    while not all(len(answer) >= NEW for answer in answers):
        for stream, answer in zip(streams, answers, strict=True):
            while (token := next(stream)) is not None:
                answer.append(token)
        engines[0].compute()
    assert [answer[:NEW] for answer in answers] == expected
    language.tiles.clear()


@pytest.mark.parametrize(("field", "value"), [("n_threads", 0), ("warmup", False)])
def test_a_library_with_other_structs_is_refused(library, monkeypatch, field, value):
    functions = mtmd_library.load_mtmd(library)
    params = functions.mtmd_context_params_default()
    setattr(params, field, value)
    monkeypatch.setattr(functions, "mtmd_context_params_default", lambda: params)
    mtmd_library.load_mtmd.cache_clear()
    with pytest.raises(MissingError, match=rf"can't encode pictures: .*{field} is"):
        mtmd_library.load_mtmd(library)
