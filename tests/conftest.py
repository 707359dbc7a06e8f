"""Fixtures for all tests: small models in the file formats of real ones, and the commands."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

# Tests run in one process per core; more threads than cores would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import idle
import numpy as np
import open_clip
import pytest
import torch
from command_line import Run, run_here, run_installed
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedTokenizerFast,
)

from mmtui.errors import MissingError
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec
from mmtui.pipeline.input_files import encode_wav
from mmtui.pipeline.vision.images import Picture

SHARED = Path(__file__).parents[1].parent / "shared" / "data"
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 3, "width": 128, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 64, "heads": 2, "layers": 1},
}
TINY = {"vocab_size": 320, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3}


# A test that uses one of these starts a command, loads the weights of smol or trains.
SLOW_FIXTURES = {"mmtui", "mmtui_here", "mmtrain", "installed_mmtrain", "smol", "train"}
USER_INTERFACES = Path(__file__).with_name("frontends")


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_configure() -> None:
    """Restore Ctrl-C, which a shell ignores in what it runs in the background."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests, so that `pytest -m "not slow"` runs the others, and run them first.

    At the end, the two processes share out what is quick.
    """
    slow_files = set()
    for item in items:
        if _is_slow(item):
            item.add_marker("slow")
            slow_files.add(item.path)
    items.sort(key=lambda item: item.path not in slow_files)


def _is_slow(item: pytest.Item) -> bool:
    return (
        not SLOW_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
        or item.path.is_relative_to(USER_INTERFACES)
        or any(item.get_closest_marker(name) for name in ("large", "perf"))
    )


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name the contents of files by their size: xdist needs names that do not change."""
    return f"{argname}: {len(val)} bytes" if isinstance(val, bytes) and len(val) > 20 else None


@pytest.fixture(scope="session", autouse=True)
def isolated_environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the settings, the log and the clipboard of whoever runs the tests out of them."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("settings"))
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    for display in ("DISPLAY", "WAYLAND_DISPLAY"):
        os.environ.pop(display, None)


@pytest.fixture(scope="session", autouse=True)
def exact_idling() -> Iterator[None]:
    """Have pilots of Textual wait for what an app does, instead of for the clock."""
    with pytest.MonkeyPatch.context() as patch:
        idle.install(patch)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with real recordings and photos, or skip the test without it."""
    if not SHARED.exists():
        pytest.skip(f"no real recordings and photos in {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a Llama with grouped-query attention, a chat template and random weights."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("llama")
    config = LlamaConfig(
        **TINY,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=2,
        tie_word_embeddings=True,
    )
    _widen_weights(LlamaForCausalLM(config)).save_pretrained(folder)
    _train_tokenizer(CHATML).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_phi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a sharded Phi with random weights, whose tokenizer has no chat template."""
    torch.manual_seed(2)
    folder = tmp_path_factory.mktemp("phi")
    config = PhiConfig(**TINY, num_attention_heads=4, partial_rotary_factor=0.4, eos_token_id=0)
    _widen_weights(PhiForCausalLM(config)).save_pretrained(folder, max_shard_size="200KB")
    _train_tokenizer(None).save_pretrained(folder)
    return folder


def _widen_weights(model: torch.nn.Module) -> torch.nn.Module:
    """Draw larger weights, so that rounding does not decide which token is the most probable."""
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def _train_tokenizer(template: str | None) -> PreTrainedTokenizerFast:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        ["What is in this picture? A dog and a cat are in it."] * 9, trainer
    )
    eos = special[2] if template else special[0]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=eos, pad_token=special[0], chat_template=template
    )


@pytest.fixture(scope="session")
def save_clip() -> Callable[..., Path]:
    """Return a function that saves a CLIP with random weights, as open_clip does on the hub."""

    def save(folder: Path, **changed: dict) -> Path:
        torch.manual_seed(0)
        settings = CLIP | changed
        state = open_clip.CLIP(**settings).state_dict()
        save_file(state, folder / "open_clip_model.safetensors")
        preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
        config = {"model_cfg": settings, "preprocess_cfg": preprocess}
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        return folder

    return save


@pytest.fixture(scope="session")
def tiny_clip(save_clip: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def tiny(tiny_llama, smol, tmp_path_factory) -> checkpoint.Checkpoint:
    """Save a small language model with the real vision tower and a random projector."""
    spec = ModelSpec("tiny", LanguageSpec(Asset(str(tiny_llama)), "fp32"), smol.spec.vision)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 1280, generator=generator) * 0.05
    folder = tmp_path_factory.mktemp("models") / "tiny"
    checkpoint.write(folder, spec, {"weight": weight, "bias": torch.zeros(64)})
    return checkpoint.read(folder)


@pytest.fixture
def picture() -> Picture:
    return Picture("a" * 64, Image.new("RGB", (80, 60), "red"))


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    file = tmp_path / "a cat.png"
    Image.new("RGB", (40, 30), "orange").save(file)
    return file


@pytest.fixture(scope="session")
def clip_wav() -> bytes:
    """A recording of one second."""
    return encode_wav(np.sin(np.arange(16000, dtype=np.float32) / 10) / 2)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the asset cache to an empty folder and return it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return fetch.get_cache_folder()


@pytest.fixture(scope="session")
def smol() -> checkpoint.Checkpoint:
    """Return the real default model; its weights are fetched unless they are in the cache."""
    found = checkpoint.find("smol")
    try:
        for asset in found.spec.assets.values():
            fetch.fetch(asset)
    except MissingError as error:
        pytest.skip(f"the weights of smol can't be fetched: {error}")
    return found


@pytest.fixture
def mmtui() -> Callable[..., Run]:
    """Return a function that runs the installed command `mmtui`."""
    return partial(run_installed, "mmtui")


@pytest.fixture
def mmtui_here(capfd: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Return a function that runs the command `mmtui` in this process, which can be patched."""
    return partial(run_here, "mmtui", capfd)


@pytest.fixture
def installed_mmtrain() -> Callable[..., Run]:
    """Return a function that runs the installed command `mmtrain`."""
    return partial(run_installed, "mmtrain")


@pytest.fixture
def mmtrain(capfd: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Return a function that runs the command `mmtrain` in this process.

    A process of its own would import torch and transformers, which takes three seconds.
    """
    return partial(run_here, "mmtrain", capfd)
