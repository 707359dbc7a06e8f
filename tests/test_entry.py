"""How a command ends: with an exit code, by a signal or by a bug, and the terminal is restored."""

import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

COMMAND = Path(sys.executable).with_name("mmtui")
PATIENCE_S = 60

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a supervisor")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def log(state: Path) -> Path:
    return state / "mmtui" / "mmtui.log"


@pytest.fixture
def waiting(state: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Start `mmtui ask`, which waits for a question on stdin."""
    process = subprocess.Popen(
        [COMMAND, "ask"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: "pipe" in wait_channel(find_worker(process)))
    yield process
    process.kill()
    process.communicate()


def find_worker(process: "subprocess.Popen[bytes]") -> psutil.Process:
    """Return the child process that does the work of a command."""
    wait_until(lambda: bool(psutil.Process(process.pid).children()))
    return psutil.Process(process.pid).children()[0]


def wait_for_stderr(process: "subprocess.Popen[bytes]") -> bytes:
    """Wait until a process ends, and return its stderr."""
    process.wait(timeout=PATIENCE_S)
    assert process.stderr
    return process.stderr.read()


def wait_channel(process: psutil.Process) -> str:
    return Path(f"/proc/{process.pid}/wchan").read_text()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; the timeout of the test limits the time."""
    while not condition():
        os.sched_yield()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGILL])
@pytest.mark.parametrize("to", ["both", "worker"])
def test_a_crash_is_reported_in_one_line_and_logged_with_its_stack(waiting, log, number, to):
    os.kill(waiting.pid if to == "both" else find_worker(waiting).pid, number)
    err = wait_for_stderr(waiting)
    error, hint = err.decode().splitlines()
    assert waiting.returncode == 1
    assert error.startswith("error: mmtui crashed: ") and number.name in error
    assert hint == f"hint: {log} has the details"
    assert "ask.py" in log.read_text() and "in ask" in log.read_text()


def test_a_killed_worker_is_reported_as_out_of_memory(waiting):
    find_worker(waiting).kill()
    err = wait_for_stderr(waiting)
    assert waiting.returncode == 1
    assert err.decode().splitlines() == [
        "error: mmtui was killed, probably because memory ran out",
        "hint: close other programs, or use a smaller model",
    ]


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (signal.SIGINT, 130, b"interrupted\n"),
        (signal.SIGTERM, 143, b""),
        (signal.SIGHUP, -signal.SIGHUP, b""),
        (signal.SIGUSR1, -signal.SIGUSR1, b""),
    ],
)
def test_a_command_ended_by_a_signal_exits_as_shells_expect(waiting, log, number, code, says):
    waiting.send_signal(number)
    err = wait_for_stderr(waiting)
    assert (waiting.returncode, err) == (code, says)
    assert not log.exists()


def test_the_worker_ends_when_its_command_is_killed(waiting):
    worker = find_worker(waiting)
    waiting.kill()
    worker.wait(timeout=PATIENCE_S)


def test_a_command_is_suspended_and_continued_with_its_worker(waiting):
    worker = find_worker(waiting)
    worker.suspend()
    wait_until(lambda: psutil.Process(waiting.pid).status() == psutil.STATUS_STOPPED)
    waiting.send_signal(signal.SIGCONT)
    wait_until(lambda: worker.status() == psutil.STATUS_SLEEPING)
    waiting.communicate(b" ", timeout=PATIENCE_S)
    assert waiting.returncode == 2


def test_a_command_runs_with_closed_standard_streams(state):
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        run = subprocess.run(
            ["bash", "-c", f"{COMMAND} ask {closed}"], capture_output=True, check=False
        )
        assert run.returncode == 2


def test_the_terminal_is_restored_when_the_chat_crashes(log):
    parent, child = pty.openpty()
    before = termios.tcgetattr(child)
    process = subprocess.Popen([COMMAND], stdin=child, stdout=child, stderr=child)
    shown = b""
    while b"\x1b[?1049h" not in shown or termios.tcgetattr(child)[3] & termios.ISIG:
        shown += os.read(parent, 10_000)
    find_worker(process).send_signal(signal.SIGSEGV)
    assert process.wait(PATIENCE_S) == 1
    assert termios.tcgetattr(child) == before
    os.close(child)
    while b"has the details" not in shown:
        shown += os.read(parent, 10_000)
    os.close(parent)
    _, after = shown.rsplit(b"\x1b[?1049l", 1)
    assert b"error: mmtui crashed" in after and b"\x1b[?25h" in after
    assert log.exists()


BUG = """
from mmtui.entry import run
def load():
    def act():
        secret = "a secret question"
        try:
            open("/no/secret/file")
        except OSError as error:
            raise ValueError(f"about {secret}") from error
    return act
run("mmtui", load)
"""


@pytest.fixture
def bug(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Return a function that runs a command with a bug."""
    script = tmp_path / "bug.py"
    script.write_text(BUG)

    def run(**env: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, script],
            capture_output=True,
            text=True,
            env=os.environ | env,
            check=False,
        )

    return run


def test_a_bug_is_logged_without_the_texts_of_the_user(bug, log):
    run = bug()
    assert run.returncode == 1
    assert run.stderr.splitlines() == [
        "error: ValueError: about a secret question",
        f"hint: this is a bug; {log} has the details",
    ]
    written = log.read_text()
    assert "builtins.ValueError" in written and "FileNotFoundError 2" in written
    assert "bug.py:9 in load.<locals>.act" in written and "python 3." in written
    assert "secret" not in written
    assert log.stat().st_mode & 0o777 == 0o600


def test_debug_prints_the_traceback(bug, log):
    run = bug(MMTUI_DEBUG="1")
    assert "Traceback" in run.stderr and 'open("/no/secret/file")' in run.stderr


def test_a_bug_is_reported_where_the_log_can_t_be_written(bug, tmp_path):
    (tmp_path / "file").touch()
    run = bug(XDG_STATE_HOME=str(tmp_path / "file"))
    assert run.stderr.splitlines()[1] == "hint: this is a bug; --debug shows the details"
