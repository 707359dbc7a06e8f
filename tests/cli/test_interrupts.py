"""Ctrl+C while a command loads, reads, writes or downloads."""

import json
import os
import resource
import signal
import subprocess
import threading
import time
from contextlib import suppress

import psutil
from command_line import COMMAND

PAUSE, PAUSE_S = threading.Event(), 0.005  # while the CPU time of a process is watched


def measure_cpu_ticks(pid: int) -> int:
    """Return the CPU time of the command that the supervisor `pid` has started, in clock ticks."""
    process = psutil.Process(pid)
    with suppress(psutil.NoSuchProcess):
        times = [child.cpu_times() for child in process.children()]
        return round(sum(x.user + x.system for x in times) * os.sysconf("SC_CLK_TCK"))
    return 0


def test_ctrl_c_while_an_answer_is_written_keeps_its_text(smol):
    process = subprocess.Popen(
        [COMMAND, "ask", "--max-tokens", "2000", "--temperature", "1", "Tell me everything."],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    first = process.stdout.read(8)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(first) == 8 and out.endswith(b"\n")
    assert err.decode().splitlines()[-1] == "interrupted"


def test_ctrl_c_while_a_long_question_is_read_prints_complete_json(mmtui, smol):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert mmtui("ask", "--max-tokens", 2, "Hi").code == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = os.sysconf("SC_CLK_TCK")
    short_run_ticks = (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * ticks
    process = subprocess.Popen(
        [COMMAND, "ask", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )
    process.stdin.write(b"word " * 7000)
    process.stdin.close()
    deadline = time.monotonic() + 120
    # After the time of a short question and another second, the model is loaded, and reads the
    # question for about a minute.
    while measure_cpu_ticks(process.pid) < short_run_ticks + 100:
        assert process.poll() is None and time.monotonic() < deadline
        PAUSE.wait(PAUSE_S)
    process.send_signal(signal.SIGINT)
    interrupted = time.monotonic()
    out, err = process.stdout.read(), process.stderr.read()
    assert process.wait(timeout=60) == 130
    assert time.monotonic() - interrupted < 15
    answer = json.loads(out)
    assert (answer["stop_reason"], answer["answer"]) == ("cancelled", "")
    assert err.decode().splitlines()[-1] == "interrupted"


def test_ctrl_c_at_any_time_exits_with_130_and_prints_no_traceback(smol):
    for ticks in (5, 40, 90, 150, 230):
        process = subprocess.Popen(
            # At this temperature, any token may follow: the answer is long whatever the weights.
            [COMMAND, "ask", "--temperature", "2", "Write an essay about bees."],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        while process.poll() is None and measure_cpu_ticks(process.pid) < ticks:
            PAUSE.wait(PAUSE_S)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, (ticks, err)
        assert b"Traceback" not in err, (ticks, err)


def test_ctrl_c_during_a_download_leaves_no_file(tmp_path):
    """The package index accepts the connection of pip and never answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        env = {
            **os.environ,
            "XDG_CACHE_HOME": str(tmp_path),
            "PIP_INDEX_URL": f"http://127.0.0.1:{server.getsockname()[1]}/simple",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_FIND_LINKS": "",
            "PIP_EXTRA_INDEX_URL": "",
        }
        process = subprocess.Popen(
            [COMMAND, "ask", "Hi"], env=env, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        connection, _ = server.accept()  # pip has connected
        with connection:
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in err
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert not [
        path for path in files if path.name != "files.sqlite"
    ]  # the hashes of the files that are installed with mmtui
