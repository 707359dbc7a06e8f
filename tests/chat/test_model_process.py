"""The process of the model: answers, cancellation, crashes, and its end."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np
import psutil
import pytest
from fakes import ignore_requests
from model_events import TIMEOUT_S, ModelEvents

from mmtui import logs
from mmtui.chat import worker
from mmtui.chat.model_process import ModelProcess
from mmtui.chat.protocol import (
    ChatTurn,
    Completed,
    Died,
    Failed,
    Piece,
    Ready,
    Transcribed,
)
from mmtui.crashes import Dump
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec

pytestmark = pytest.mark.slow  # loads torch in other processes


@pytest.fixture(scope="module")
def tiny(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    checkpoint.write(folder, ModelSpec("tiny", LanguageSpec(Asset(str(tiny_llama)), "fp32")))
    return folder


@pytest.fixture
def events() -> ModelEvents:
    return ModelEvents()


@pytest.fixture
def model(tiny: Path, events: ModelEvents) -> Iterator[ModelProcess]:
    model = ModelProcess(str(tiny), events)
    yield model
    model.close()


def ask(model: ModelProcess, text: str = "What is in this picture?", tokens: int = 20) -> int:
    return model.generate([ChatTurn("user", text)], tokens)


def get_process(model: ModelProcess) -> psutil.Process:
    assert model._process is not None
    return psutil.Process(model._process.pid)


def test_a_model_is_loaded_and_answers_piece_by_piece(model, events):
    number = model.load()
    (ready,) = events.until(Ready)
    assert (ready.number, ready.model) == (number, "tiny")
    assert (ready.vision, ready.picture_tokens) == (None, 0)
    request = ask(model)
    *pieces, completed = events.until(Completed)
    assert {event.number for event in (*pieces, completed)} == {request}
    assert all(isinstance(piece, Piece) for piece in pieces)
    assert completed.completion_tokens <= 20 and completed.prompt_tokens > 5
    again = ask(model)
    assert events.until(Completed)[-1].cached_tokens > 5 and again > request


def test_the_next_question_is_answered_after_a_cancelled_one(model, events):
    number = ask(model, tokens=100_000)
    events.until(Piece)
    model.cancel(number)
    assert events.until(Completed)[-1].stop_reason == "cancelled"
    ask(model, tokens=3)
    assert events.until(Completed)[-1].completion_tokens <= 3


def test_a_failure_has_a_hint_and_the_process_continues(model, events):
    number = model.generate([ChatTurn("user", "Look", ("/no/such/picture.png",))])
    (failed,) = events.until(Failed)
    assert (failed.number, "picture.png" in failed.message) == (number, True)
    model.transcribe(np.ones(16_000, np.float32))
    (failed,) = events.until(Failed, Transcribed)
    assert failed.traceback is None
    assert "no speech model" in failed.message and "smol" in failed.hint
    ask(model, tokens=2)
    assert isinstance(events.until(Completed)[-1], Completed)


def test_a_missing_model_is_reported(events):
    model = ModelProcess("/no/such/model", events)
    model.load()
    (failed,) = events.until(Failed, Died)
    assert "/no/such/model" in failed.message
    model.close()


def test_a_killed_process_is_reported_and_the_next_question_starts_another(model, events):
    ask(model, tokens=100_000)
    events.until(Piece)
    process = get_process(model)
    process.send_signal(signal.SIGKILL)
    died = events.until(Died)[-1]
    assert "killed" in died.message and "restart" in died.hint
    model.cancel(1)
    ask(model, tokens=2)
    assert events.until(Completed)[-1].completion_tokens <= 2
    assert get_process(model) != process


def test_a_process_that_can_t_be_started_is_reported_and_started_again(model, events, monkeypatch):
    def fail(_: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    with monkeypatch.context() as patched:
        patched.setattr(SpawnProcess, "start", fail)
        number = model.load()
        (died,) = events.until(Died)
        assert "can't be started: [Errno 12] Cannot allocate memory" in died.message
    assert model.load() > number
    assert isinstance(events.until(Ready)[-1], Ready)


def test_a_crash_is_reported_and_logged_with_its_stack(model, events, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("MMTUI_DEBUG", "1")
    ask(model, "a secret question", tokens=100_000)
    events.until(Piece)
    get_process(model).send_signal(signal.SIGSEGV)
    died = events.until(Died)[-1]
    assert "the model crashed: Segmentation fault (SIGSEGV)" in died.message
    assert str(logs.get_path()) in died.hint and "restart" in died.hint
    assert "worker.py" in died.traceback
    assert (
        "worker.py" in logs.get_path().read_text() and "secret" not in logs.get_path().read_text()
    )


def test_a_bug_is_logged_and_its_traceback_is_reported(model, events, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("MMTUI_DEBUG", "1")
    model.generate([ChatTurn("user", ("a secret", "that is not text"))])
    failed = events.until(Failed)[-1]
    assert str(logs.get_path()) in failed.hint and "this is a bug" in failed.hint
    assert "Traceback" in failed.traceback and "worker.py" in failed.traceback
    assert (
        "worker.py" in logs.get_path().read_text() and "secret" not in logs.get_path().read_text()
    )


def test_a_process_that_does_not_read_requests_does_not_block_the_chat(events, monkeypatch):
    monkeypatch.setattr("mmtui.chat.worker.main", ignore_requests)
    model = ModelProcess("none", events)
    clip = np.zeros(15 * 16_000, np.float32)  # more than a pipe holds
    thread = threading.Thread(target=lambda: model.transcribe(clip), daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    model.cancel(1)
    process = get_process(model)
    model.close()
    assert not process.is_running()


def test_closing_ends_the_process_and_can_be_repeated(model, events):
    ask(model, tokens=100_000)
    events.until(Piece)
    process = get_process(model)
    model.close()
    assert not process.is_running()
    model.close()


def test_another_model_answers_after_a_switch(model, events, tiny, tmp_path):
    model.load()
    events.until(Ready)
    renamed = ModelSpec("other", checkpoint.read(tiny).spec.language)
    checkpoint.write(tmp_path / "other", renamed)
    model.switch_model(str(tmp_path / "other"))
    model.load()
    assert events.until(Ready)[-1].model == "other"


def test_the_process_ends_when_the_chat_is_killed(tiny, tmp_path):
    code = """if True:
        import sys, time
        from mmtui.chat.model_process import ModelProcess
        from mmtui.chat.protocol import Piece, ChatTurn
        def main():
            def receive(event):
                if isinstance(event, Piece):
                    print(model._process.pid, flush=True)
            model = ModelProcess(sys.argv[1], receive)
            model.generate([ChatTurn("user", "Hello")], 1_000_000)
            time.sleep(600)
        if __name__ == "__main__":
            main()
    """
    script = tmp_path / "chat.py"
    script.write_text(code)
    chat = subprocess.Popen([sys.executable, script, tiny], stdout=subprocess.PIPE)
    assert chat.stdout
    child = psutil.Process(int(chat.stdout.readline()))
    os.kill(chat.pid, signal.SIGKILL)
    chat.wait()
    child.wait(timeout=TIMEOUT_S)


class _ExitCode:
    """Ends the process that unpickles it: with 0 if NumPy is imported there, else with 3."""

    def __reduce__(self):
        code = "import os, sys; os._exit(0 if 'numpy' in sys.modules else 3)"
        return exec, (code,)


def test_numpy_is_imported_before_requests_are_read():
    """A request with a recording imports it too, which fails if two threads do so at once."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (theirs, "smol", "auto", Dump(), 0, "auto", None, 1)
    process = context.Process(target=worker.main, args=arguments)
    process.start()
    theirs.close()
    ours.send(_ExitCode())
    process.join(TIMEOUT_S)
    assert process.exitcode == 0
