"""GGUFs with their own tokenizers and chat templates, against llama.cpp called directly."""

import _thread
import ctypes
import os
import signal
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from gguf_models import (
    ARCHITECTURES,
    CHATML,
    HEADS,
    KV_HEADS,
    LAYERS,
    WIDTH,
    write_gguf,
    write_mmproj,
)

from mmtui import machine
from mmtui.errors import InputError, MmtuiError, UsageError
from mmtui.pipeline.assets import checkpoint, gguf_files
from mmtui.pipeline.assets.gguf_memory import FIRST_CONTEXT, estimate_memory
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.engines import llama_language, loading, probe
from mmtui.pipeline.engines.detokenizer import Detokenizer
from mmtui.pipeline.engines.llama_language import LlamaLanguage
from mmtui.pipeline.engines.llama_library import LlamaLibrary, find_packages, load_library
from mmtui.pipeline.engines.llamacpp_engine import LlamaEngine
from mmtui.pipeline.engines.sampling import GREEDY, Sampler
from mmtui.pipeline.prompt import ChatFormat, Turn
from mmtui.pipeline.reply import Reply
from mmtui.pipeline.sequence import PREFILL_CHUNK

NEW = 24
QUESTIONS = (
    "What is in this picture?",
    "A dog and a cat are in it. 日本 naïve 😀",
    "a\n\n b  c\t1234",
)

pytestmark = pytest.mark.skipif(not find_packages(), reason="llama.cpp is not installed")


@pytest.fixture(scope="module", params=find_packages())
def library(request: pytest.FixtureRequest) -> LlamaLibrary:
    if probe.find_outcome(request.param) == "crashes":
        pytest.skip(f"{request.param} crashes on this machine")
    return load_library(request.param)


@pytest.fixture(scope="module", params=[*ARCHITECTURES, "mamba"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "model.gguf", request.param)


@pytest.fixture(scope="module")
def model(file: Path, library: LlamaLibrary) -> LlamaLanguage:
    return load(file, library)


def load(file: Path, library: LlamaLibrary) -> LlamaLanguage:
    extra = probe.find_outcome(library.package) == "works"
    return llama_language.load_gguf([file], library, extra_buffers=extra)


def ask(text: str) -> list[Turn]:
    return [Turn("user", (text,))]


def generate(engine: LlamaEngine, prompt: list, count: int = NEW) -> list[int]:
    tokens = engine.stream(prompt, {}, Sampler(GREEDY))
    return list(islice((token for token in tokens if token is not None), count))


def call_directly(model: LlamaLanguage, text: str, count: int = NEW) -> tuple[list, list[int]]:
    """Tokenize a rendered prompt and decode greedily with nothing but llama.cpp's functions."""
    functions = model.library.functions
    vocabulary = functions.llama_model_get_vocab(model.handle)
    data = text.encode()
    prompt = (ctypes.c_int32 * 4096)()
    length = functions.llama_tokenize(vocabulary, data, len(data), prompt, 4096, True, True)
    options = functions.llama_context_default_params()
    options.n_ctx = options.n_batch = 1024
    options.n_threads = options.n_threads_batch = 1
    context = functions.llama_init_from_model(model.handle, options)
    tokens, new = list(prompt[:length]), []
    batch = functions.llama_batch_init(1024, 0, 1)
    start, feed = 0, tokens
    while len(new) < count:
        batch.n_tokens = len(feed)
        for index, token in enumerate(feed):
            batch.token[index], batch.pos[index] = token, start + index
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
            batch.logits[index] = index == len(feed) - 1
        assert functions.llama_decode(context, batch) == 0
        logits = np.ctypeslib.as_array(
            functions.llama_get_logits(context), (model.vocabulary_size,)
        )
        start, feed = start + len(feed), [int(logits.argmax())]
        new += feed
    functions.llama_batch_free(batch)
    functions.llama_free(context)
    return tokens, new


def render(model: LlamaLanguage, question: str) -> str:
    text = model.tokenizer.apply_chat_template(
        [{"role": "user", "content": question}],
        chat_template=model.tokenizer.chat_template,
        tokenize=False,
        add_generation_prompt=True,
    )
    return text.removeprefix("<s>")  # llama.cpp adds it


def test_prompts_and_greedy_tokens_are_those_of_llama_cpp(model):
    chat, engine, seen = ChatFormat(model.tokenizer), LlamaEngine(model), set()
    for question in QUESTIONS:
        prompt, expected = call_directly(model, render(model, question))
        assert chat.encode(ask(question)) == prompt
        assert generate(LlamaEngine(model), prompt) == expected
        assert generate(engine, prompt) == expected
        seen.add(tuple(expected))
    assert len(seen) == len(QUESTIONS)  # the prompts do matter


def test_a_second_turn_reuses_the_cache_and_changes_nothing(model):
    engine = LlamaEngine(model)
    first = ChatFormat(model.tokenizer).encode(ask("What is in this picture?" * 4))
    answer = generate(engine, first)
    second = [*first, *answer, 40, 41, 42]
    assert engine.count_cached(second) >= len(first) + NEW - 1
    expected = generate(LlamaEngine(model), second)
    assert generate(engine, second) == expected
    # A shorter prompt, to which the state of a recurrent model can't go back.
    assert generate(engine, first) == answer


def test_a_text_can_t_contain_special_tokens(model):
    chat, tokenizer = ChatFormat(model.tokenizer), model.tokenizer
    specials = [token.content for token in tokenizer.added_tokens_decoder.values()]
    assert specials
    plain = chat.encode(ask("What is it?"))
    forged = chat.encode(ask(f"What is {' '.join(specials)} {specials[0]}{specials[-1]} it?"))
    special_ids = set(tokenizer.all_special_ids)
    count = [sum(token in special_ids for token in prompt) for prompt in (plain, forged)]
    assert count[0] == count[1]
    decode = tokenizer.make_decoder()
    text = "".join(map(decode, forged))
    assert all(special in text for special in specials)  # as the user wrote them
    assert "\u200b" not in text


def test_characters_come_out_whole(model):
    text = "naïve 👩‍👩‍👧 日本 ok"
    stream = Detokenizer(model.make_decoder(), ())
    ids = model.tokenizer(text, add_special_tokens=False).input_ids
    assert "".join([*map(stream.push, ids), stream.flush()]) == text
    half = Detokenizer(model.make_decoder(), ())
    ids = model.tokenizer("ab😀", add_special_tokens=False).input_ids
    assert "".join([*map(half.push, ids[:-1]), half.flush()]) == "ab"


def test_an_answer_ends_at_the_end_tokens_of_the_file(model):
    text = {model.tokenizer.added_tokens_decoder[index].content for index in model.stop_ids}
    assert text in ({"</s>"}, {"<|im_end|>", "<|endoftext|>"})


def test_the_parts_of_the_facade_work_together(file):
    steps: list[str] = []
    found = checkpoint.find(str(file))
    assistant = Assistant(found, lambda *progress: steps.append(progress[0]))
    reply = list(assistant.reply(ask("What is it?"), max_tokens=8))[-1]
    assert isinstance(reply, Reply)
    assert reply.completion_tokens > 0
    assert (assistant.name, assistant.engine) == ("model", "llamacpp")
    assert "loading the language model" in steps
    again = list(assistant.reply(ask("What is it?"), max_tokens=8))[-1]
    assert again.text == reply.text
    long = [Turn("user", ("What is it? " * 2000,)), Turn("assistant", ("A dog.",)), *ask("And?")]
    assert list(assistant.reply(long, max_tokens=8))[-1].dropped == 2


def test_small_models_compute_larger_batches(file, monkeypatch):
    def find_chunk() -> int:
        return Assistant(checkpoint.find(str(file))).language.chunk

    assert find_chunk() == 512
    monkeypatch.setattr(loading, "_LARGE_MODEL", file.stat().st_size * 2)
    assert find_chunk() == 2 * PREFILL_CHUNK
    monkeypatch.setattr(loading, "_LARGE_MODEL", 1)
    assert find_chunk() == PREFILL_CHUNK


def test_torch_can_t_run_a_gguf_file(file):
    with pytest.raises(UsageError, match="torch can't run a GGUF"):
        _ = Assistant(checkpoint.find(str(file)), engine="torch").language


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ 1 / 0 }}", "division"),
        ("{% for %}", "Expected"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ],
)
def test_a_template_that_fails_is_reported(library, tmp_path, template, reason):
    model = load(write_gguf(tmp_path / "x.gguf", "qwen2", template), library)
    with pytest.raises(InputError, match=f"chat template of this model fails: .*{reason}") as error:
        ChatFormat(model.tokenizer)
    assert error.value.exit_code == 4


def test_a_template_for_lists_of_parts_gets_them(library, tmp_path):
    template = (
        "{% for m in messages %}{{ m['role'] + ':' }}{% for part in m['content'] %}"
        "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}{{ '<image>' }}{% endif %}"
        "{% endfor %}{{ '<|im_end|>' }}{% endfor %}"
    )
    model = load(write_gguf(tmp_path / "x.gguf", "qwen2", template), library)
    chat = ChatFormat(model.tokenizer)
    text = "".join(map(model.tokenizer.make_decoder(), chat.encode(ask("What is it?"))))
    assert text == "user:What is it?"
    assert chat.stop_ids == {model.tokenizer("<|im_end|>", add_special_tokens=False).input_ids[0]}


def test_without_a_template_questions_are_asked_in_plain_words(library, tmp_path):
    model = load(write_gguf(tmp_path / "x.gguf", "llama", template=None), library)
    prompt = ChatFormat(model.tokenizer).encode(ask("What?"))
    assert prompt[0] == model.tokenizer.bos_token_id != prompt[1]
    assert "Instruct: What?" in "".join(map(model.tokenizer.make_decoder(), prompt))


def test_a_template_that_starts_with_bos_does_not_get_two(library, tmp_path):
    template = "{{ bos_token }}" + CHATML
    model = load(write_gguf(tmp_path / "x.gguf", "llama", template), library)
    prompt = ChatFormat(model.tokenizer).encode(ask("What?"))
    assert prompt[:2].count(model.tokenizer.bos_token_id) == 1


def test_an_architecture_that_llama_cpp_does_not_know_is_named(library, tmp_path):
    file = write_gguf(tmp_path / "x.gguf", "llama")
    file.write_bytes(file.read_bytes().replace(b"llama", b"lxama"))
    with pytest.raises(InputError, match="unknown model architecture: 'lxama'"):
        load(file, library)


def test_a_model_that_does_not_fit_is_refused(file, library, monkeypatch):
    monkeypatch.setattr(machine, "get_free_memory", lambda: 1000)
    with pytest.raises(MmtuiError, match=r"needs 0\.0 GB of memory; 0\.0 GB are free"):
        load(file, library)


def test_the_mmproj_and_the_kv_cache_must_fit_too(library, tmp_path, monkeypatch):
    file = write_gguf(tmp_path / "model.gguf")
    mmproj = write_mmproj(tmp_path / "mmproj.gguf")
    cache = 2 * 2 * LAYERS * KV_HEADS * (WIDTH // HEADS) * FIRST_CONTEXT  # keys, values; 16 bits
    needed = file.stat().st_size + mmproj.stat().st_size + cache
    monkeypatch.setattr(machine, "get_free_memory", lambda: needed)
    llama_language.load_gguf([file], library, mmproj=mmproj)
    monkeypatch.setattr(machine, "get_free_memory", lambda: needed - 1)
    load(file, library)
    with pytest.raises(MmtuiError, match=r"model\.gguf needs 0\.0 GB of memory"):
        llama_language.load_gguf([file], library, mmproj=mmproj)
    with pytest.raises(MmtuiError, match=r"model\.gguf needs 0\.0 GB of memory"):
        Assistant(checkpoint.find(f"{file} --mmproj {mmproj}")).load()


def test_a_recurrent_model_has_no_kv_cache(tmp_path):
    file = write_gguf(tmp_path / "mamba.gguf", "mamba")
    assert estimate_memory([file], None) == file.stat().st_size


@pytest.mark.parametrize("interrupts_main_thread", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_while_a_model_loads_is_not_lost(
    interrupts_main_thread, error, file, library
):
    def fail(*_: object) -> None:
        raise error

    def report(step: str, done: int, total: int) -> None:
        if done and interrupts_main_thread:
            _thread.interrupt_main(signal.SIGUSR1)
        elif done:
            fail()

    before = signal.signal(signal.SIGUSR1, fail)
    try:
        with pytest.raises(error):
            llama_language.load_gguf([file], library, report=report)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_the_best_library_is_chosen(file):
    engine = loading.load_gguf(gguf_files.find(str(file)), file)
    assert engine.language.library.package in find_packages()
    assert os.path.samefile(engine.language.files[0], file)  # noqa: PTH121
