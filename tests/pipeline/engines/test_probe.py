"""llama.cpp is tried out before it is trusted: with a stand-in that crashes, as some builds do."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mmtui.errors import MissingError
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.engines import loading, probe, selection
from mmtui.pipeline.engines.llama_library import find_packages

pytest.importorskip("llama_cpp", reason='the engine is not here: pip install "mmtui[llamacpp]"')

pytestmark = pytest.mark.slow  # loads llama.cpp in other processes

# A package of that name, which hands on the real one but for what loads and decodes.
STAND_IN = """
import os, signal, sys, time
here = os.path.dirname(os.path.dirname(__file__))
sys.path.remove(here)
del sys.modules["llama_cpp"]
import llama_cpp
sys.path.insert(0, here)
low = llama_cpp.llama_cpp
decode, load = low.llama_decode, low.llama_model_load_from_file
extra = True
def llama_model_load_from_file(path, options):
    global extra
    extra = options.use_extra_bufts
    return load(path, options)
def llama_decode(*arguments):
    with open(os.path.join(here, "decoded"), "a") as file:
        file.write("x")
    {fault}
    return decode(*arguments)
low.llama_model_load_from_file, low.llama_decode = llama_model_load_from_file, llama_decode
"""
FAULTS = {
    "never": "pass",
    "with extra buffers": "extra and os.kill(os.getpid(), signal.SIGSEGV)",
    "always": "os.kill(os.getpid(), signal.SIGSEGV)",
    "hangs": "time.sleep(600)",
}


class StandIn:
    """A llama.cpp that other processes find before the real one."""

    def __init__(self, folder: Path, fault: str) -> None:
        self._folder = folder
        package = folder / "llama_cpp" / "__init__.py"
        package.parent.mkdir(parents=True)
        package.write_text(STAND_IN.replace("{fault}", FAULTS[fault]))
        other = folder / "xllamacpp" / "__init__.py"  # it can't be loaded
        other.parent.mkdir()
        other.touch()

    def reveal_xllamacpp(self) -> None:
        shutil.rmtree(self._folder / "xllamacpp")

    @property
    def decoded(self) -> int:
        """How often it was asked to decode."""
        file = self._folder / "decoded"
        return len(file.read_text()) if file.exists() else 0


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):
    folder = tmp_path / "stand-in"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *sys.path]))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "llama_cpp")
    monkeypatch.setattr(selection, "has_gpu", lambda: False)
    return StandIn(folder, request.param)


def tiny_spec(weights: Path) -> ModelSpec:
    return ModelSpec("tiny", LanguageSpec(Asset(str(weights)), "fp32"))


def with_fault(*faults: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("stand_in", faults, indirect=True)


@pytest.mark.parametrize(
    ("stand_in", "expected"),
    [
        ("never", "works"),
        ("with extra buffers", "works without extra buffers"),
        ("always", "crashes"),
    ],
    indirect=["stand_in"],
)
def test_it_is_tried_out_once(stand_in, expected):
    assert probe.find_outcome("llama-cpp-python") == expected
    decoded = stand_in.decoded
    assert decoded > 0
    assert probe.find_outcome("llama-cpp-python") == expected
    assert stand_in.decoded == decoded
    probe.get_path().unlink()
    assert probe.find_outcome("llama-cpp-python") == expected
    assert stand_in.decoded == 2 * decoded


@with_fault("never")
def test_another_build_or_processor_is_tried_out_again(stand_in, tmp_path, monkeypatch):
    probe.find_outcome("llama-cpp-python")
    os.utime(tmp_path / "stand-in" / "llama_cpp" / "__init__.py", (1, 1))
    probe.find_outcome("llama-cpp-python")
    monkeypatch.setattr("mmtui.machine.get_processor_flags", lambda: "fpu amx_tile")
    probe.find_outcome("llama-cpp-python")
    assert len(json.loads(probe.get_path().read_text())) == 3


@with_fault("hangs")
def test_who_hangs_has_failed(stand_in, monkeypatch):
    monkeypatch.setattr(probe, "TIMEOUT_S", 3)
    assert probe.find_outcome("llama-cpp-python") == "crashes"


@with_fault("hangs")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_does_not_wait_leaves_no_outcome_and_no_process(stand_in, number):
    code = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "from mmtui.pipeline.engines import probe; probe.find_outcome('llama-cpp-python')"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while not stand_in.decoded:
        assert process.poll() is None
        time.sleep(0.01)
    children = psutil.Process(process.pid).children()
    process.send_signal(number)
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive and not probe.get_path().exists()


@pytest.mark.parametrize("content", ["", "[]", '{"key": 1}', '{"key": [1]}', "\0", '{"k": "fine"}'])
def test_a_file_of_nonsense_is_replaced(content, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(probe, "_run_trial", lambda _: "works")
    probe.get_path().parent.mkdir()
    probe.get_path().write_text(content)
    assert probe.find_outcome("llama-cpp-python") == "works"
    assert list(json.loads(probe.get_path().read_text()).values()) == ["works"]


def test_nothing_breaks_where_nothing_can_be_remembered(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(probe, "_run_trial", lambda _: "works")
    assert probe.find_outcome("llama-cpp-python") == "works"


@with_fault("always")
def test_auto_takes_torch_where_llama_cpp_crashes_and_says_so(stand_in, tiny_llama):
    found = Checkpoint(tiny_spec(tiny_llama))
    assistant = Assistant(found)
    assert assistant.engine == "torch"
    assert "llama.cpp crashes on this machine" in assistant.note
    assert Assistant(found, engine="torch").note is None
    with pytest.raises(MissingError, match="llamacpp crashes on this machine"):
        loading.load_llama_language(tiny_llama)


@with_fault("with extra buffers")
def test_a_build_with_a_fault_answers_without_what_is_faulty(stand_in, mmtui, tiny_llama, tmp_path):
    checkpoint.write(tmp_path / "model", tiny_spec(tiny_llama))
    run = mmtui("ask", "--model", tmp_path / "model", "--json", "--max-tokens", 3, "Hi")
    assert run.code == 0, run.err
    assert run.json["engine"] == "llamacpp"


@with_fault("with extra buffers", "always")
@pytest.mark.skipif("xllamacpp" not in find_packages(), reason="xllamacpp is not installed")
def test_xllamacpp_is_used_where_llama_cpp_python_crashes(stand_in):
    assert probe.choose_package() != ("xllamacpp", "works")
    stand_in.reveal_xllamacpp()
    assert probe.choose_package() == ("xllamacpp", "works")


@with_fault("never")
def test_llama_cpp_python_is_preferred_where_it_works(stand_in):
    stand_in.reveal_xllamacpp()
    assert probe.choose_package() == ("llama-cpp-python", "works")


def test_without_llama_cpp_the_engine_says_how_to_install_it(tiny_llama, monkeypatch):
    monkeypatch.setattr(probe, "find_packages", list)
    with pytest.raises(MissingError, match="llamacpp is not installed") as error:
        loading.load_llama_language(tiny_llama)
    assert "pip install xllamacpp==" in str(error.value.hint)
