"""Fixtures for training: a small model, small data in real formats, and runs."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command_line import fresh_accelerator

from mmtrain.data import shapes
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec, VisionSpec

HALF = (0.5, 0.5, 0.5)


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return environment variables with a cache that all runs of the session share."""
    return {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def tiny_vision(tiny_clip: Path) -> VisionSpec:
    return VisionSpec(Asset(str(tiny_clip)), "open_clip", 64, HALF, HALF, 16, 128)


@pytest.fixture(scope="session")
def tiny_model(
    tiny_llama: Path, tiny_vision: VisionSpec, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Save a checkpoint without a projector."""
    folder = tmp_path_factory.mktemp("tiny")
    spec = ModelSpec("tiny", LanguageSpec(Asset(str(tiny_llama)), "fp32"), tiny_vision)
    checkpoint.write(folder, spec)
    return folder


@pytest.fixture(scope="session")
def tiny_seeing_phi(
    tiny_phi: Path, tiny_vision: VisionSpec, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Save a checkpoint of a Phi with a random projector."""
    folder = tmp_path_factory.mktemp("seeing")
    torch.manual_seed(5)
    spec = ModelSpec("tiny", LanguageSpec(Asset(str(tiny_phi)), "fp32"), tiny_vision)
    checkpoint.write(folder, spec, torch.nn.Linear(128, 64).state_dict())
    return folder


@pytest.fixture(scope="session")
def shapes_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with generated pictures, captions, dialogues, questions and text."""
    folder = tmp_path_factory.mktemp("shapes")
    shapes.generate(folder, 60, seed=0)
    return folder


@pytest.fixture
def train(session_cache: dict, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that runs a stage in this process, as its command does.

    `explicit` has the names of the options that are on the command line.
    """
    from mmtrain.options import StartOptions
    from mmtrain.run.launch import launch
    from mmtui.pipeline.assets.fetch import ignore_progress

    monkeypatch.setenv("XDG_CACHE_HOME", session_cache["XDG_CACHE_HOME"])

    def run(options, out: Path, explicit: tuple = (), **start: object) -> None:
        start_options = StartOptions(out=out, explicit=frozenset(explicit), **start)
        with fresh_accelerator():
            launch(options, start_options, ignore_progress)

    return run
