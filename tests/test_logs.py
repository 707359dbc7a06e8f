"""The log is bounded, private, safe for many writers, and without the texts of users."""

import subprocess
import sys
from pathlib import Path

import pytest

from mmtui import logs


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return logs.get_path()


def test_the_log_is_created_private_when_something_is_written(log):
    assert not log.parent.exists()
    assert logs.record_crash("mmtui: Segmentation fault", "a stack") == log
    assert "a stack" in log.read_text()
    assert (log.stat().st_mode & 0o777, log.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_old_entries_are_rotated_out(log, monkeypatch):
    monkeypatch.setattr(logs, "MAX_BYTES", 2000)
    for number in range(50):
        logs.record_crash(f"crash {number}.", "")
    names = {path.name for path in log.parent.iterdir()}
    assert names == {"mmtui.log", "mmtui.log.1", "mmtui.log.2", "mmtui.log.lock"}
    assert all(path.stat().st_size < 3000 for path in log.parent.iterdir())
    assert "crash 49." in log.read_text()


def test_entries_of_concurrent_processes_are_all_kept(log):
    code = (
        "import sys; from mmtui import logs; logs.MAX_BYTES = 9000; logs.LOCK_TIMEOUT_S = 60\n"
        "for n in range(10): assert logs.record_crash(f'crash {sys.argv[1]}-{n}.', '')"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(n)]) for n in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    written = "".join(path.read_text() for path in log.parent.glob("mmtui.log*"))
    assert sum(f"crash {w}-{n}." in written for w in range(4) for n in range(10)) == 40


@pytest.mark.parametrize("obstacle", ["folder", "link", "fifo"])
def test_anything_but_a_regular_file_in_its_place_is_left_alone(log, tmp_path, obstacle):
    import os

    log.parent.mkdir()
    other = tmp_path / "other"
    other.write_text("mine")
    {"folder": log.mkdir, "link": lambda: log.symlink_to(other), "fifo": lambda: os.mkfifo(log)}[
        obstacle
    ]()
    assert logs.record_crash("crash", "") is None
    assert other.read_text() == "mine"


def test_a_chain_of_exceptions_is_logged_without_messages(log):
    try:
        try:
            raise KeyError("marker")
        except KeyError:
            raise RuntimeError("marker")  # noqa: B904
    except RuntimeError as error:
        error.__cause__ = error  # a circle
        logs.record_error(error)
        error.__cause__ = None
        error.__suppress_context__ = False
        logs.record_error(error)
    written = log.read_text()
    assert "builtins.KeyError" in written and "builtins.RuntimeError" in written
    assert "test_logs.py" in written and "marker" not in written
