"""What the chat costs: the start, a stream, speech, files, memory, search, and doing nothing.

    python tests/bench/chat.py [CASE ...]

Each case is a process of its own. The figures are printed on stderr beside the bars that the
project sets itself, and on stdout as one JSON document. No model is loaded, except by "idle".

Cases:
- start: from the command to a prompt that echoes a key, in a terminal that answers no question; the
  best of five.
- stream: the time between two frames while 100 tokens/s are written into a conversation of 500
  messages with 50 pictures, in a terminal of 120 x 40.
- speak: the same while the answer is read aloud by the real synthesizer.
- sound: from the end of the first sentence to its first sample, with a voice that is loaded and
  with one whose process starts with the answer.
- files: `@` in a folder of 100 000 files: the time to the first list, to the echo of a key, and to
  the list that matches what is typed.
- memory: of the process after the 500 messages were opened and read to their beginning.
- search: over 10 000 messages, the slowest of four questions.
- idle: the share of a core that the chat and the process of its model use while nothing happens.

Frames are what the chat writes to a terminal. A busy machine delays them, so "stream" also measures
the CPU seconds of the thread that draws, in a second run with as many tokens for each frame as at
60 frames/s.
"""

import argparse
import asyncio
import json
import os
import pty
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from textual.events import Key

from mmtui.audio.narration import Narration
from mmtui.chat.conversation import Attachment, Conversation
from mmtui.chat.history.history import History
from mmtui.frontends.tui.launch import prepare_interpreter
from mmtui.frontends.tui.widgets.file_list import FileList, FileOptions
from mmtui.pipeline.speech.spoken_text import Sentence
from mmtui.pipeline.speech.synthesis import SynthesizerProcess

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.streamed_chat import ANSWER, PACE_S, Figures, PacedSpeaker, run_in_terminal, split_answer
from user import User, open_chat

# The bars: a figure may be at most this, but frames_per_s must be at least that, when rounded.
BARS = {
    "start_s": 0.5,
    "stream_frames_per_s": 60,
    "stream_longest_gap_s": 0.1,
    "stream_cpu_s_per_frame": 1 / 60,
    "speak_longest_gap_s": 0.06,
    "speak_first_sound_s": 0.5,
    "sound_warm_s": 0.5,
    "sound_cold_s": 0.5,
    "files_first_list_s": 0.5,
    "files_key_s": 0.06,
    "files_list_s": 0.5,
    "slowest_search_s": 0.05,
    "idle_percent": 0.5,
}
MESSAGES, PICTURES = 500, 50
FILES = 100_000
DIGITS = "77731"  # of a file
SENTENCE = "The river runs from the mountains to the sea, and it takes its time. It"
MODEL_PROCESS = "multiprocessing."  # in the command lines of the processes that spawn it
IDLE_AFTER_S, IDLE_S = 20.0, 20.0  # the model is loaded, and the cursor no longer blinks


def main() -> None:
    cases: dict[str, Callable[[Path], Figures]] = {
        "start": measure_start,
        "stream": measure_stream,
        "speak": measure_speech,
        "sound": measure_sound,
        "files": measure_files,
        "memory": measure_memory,
        "search": measure_search,
        "idle": measure_idle,
    }
    options = argparse.ArgumentParser()
    options.add_argument("cases", nargs="*", choices=[*cases, []])
    options.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.in_process:
        prepare_interpreter()  # as the chat does
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(cases[arguments.cases[0]](Path(folder))))
        return
    figures: Figures = {}
    for case in arguments.cases or cases:
        command = [sys.executable, __file__, case, "--in-process"]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        found = json.loads(output.splitlines()[-1])
        print("\n".join(map(format_figure, found, found.values())), file=sys.stderr)
        figures |= found
    print(json.dumps({"figures": figures, "bars": BARS}, indent=2))


def format_figure(name: str, value: float) -> str:
    """Return a line with a figure, its bar, and whether it is within it."""
    if (bar := BARS.get(name)) is None:
        return f"{name:28} {value:10.4g}"
    is_least = name.endswith("frames_per_s")
    is_within = round(value) >= bar if is_least else value <= bar
    verdict = "" if is_within else "  MISSED"
    return f"{name:28} {value:10.4g}   {'>=' if is_least else '<='} {bar:.4g}{verdict}"


# The start, and doing nothing


def measure_start(folder: Path) -> Figures:
    took = [_start_chat(folder / f"{number}") for number in range(5)]  # no draft of the one before
    return {"start_s": min(wall for wall, _ in took), "start_cpu_s": min(cpu for _, cpu in took)}


def _start_chat(folder: Path) -> tuple[float, float]:
    """Return the seconds and CPU seconds until the prompt echoes; the chat is quit afterwards."""
    start = time.perf_counter()
    pid, terminal = _open_chat_process(folder)
    os.write(terminal, b"Q")
    _read_until(terminal, b"Q")
    took, cpu = time.perf_counter() - start, _sum_cpu(pid, with_model=False)
    _quit(pid, terminal)
    return took, cpu


def measure_idle(folder: Path) -> Figures:
    pid, terminal = _open_chat_process(folder)
    _discard(terminal, IDLE_AFTER_S)
    before = _sum_cpu(pid)
    _discard(terminal, IDLE_S)
    used = _sum_cpu(pid) - before
    _quit(pid, terminal)
    return {"idle_percent": 100 * used / IDLE_S}


def _open_chat_process(folder: Path) -> tuple[int, int]:
    """Start the command, and return its id and its terminal when the prompt is shown."""
    home = {"XDG_DATA_HOME": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config")}
    environment = os.environ | home | {"TERM": "xterm-256color", "MMTUI_MODEL": ""}
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(sys.executable, [sys.executable, "-m", "mmtui"], environment)
    _read_until(terminal, b"sk something")  # the cursor stands on the first letter
    return pid, terminal


def _quit(pid: int, terminal: int) -> None:
    os.write(terminal, b"\x11")
    _read_until(terminal, b"\x1b[?1049l")
    os.close(terminal)
    os.waitpid(pid, 0)


def _read_until(terminal: int, sign: bytes) -> None:
    seen = b""
    while sign not in seen:
        ready, _, _ = select.select([terminal], [], [], 60)
        seen += os.read(terminal, 65536) if ready else sys.exit("the chat does not start")


def _discard(terminal: int, seconds: float) -> None:
    """Read what the chat draws for a time."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            os.read(terminal, 65536)


def _sum_cpu(pid: int, *, with_model: bool = True) -> float:
    """Return the CPU seconds of a process and of those that it started."""
    chat = psutil.Process(pid)
    processes = [chat, *chat.children(recursive=True)]
    if not with_model:
        processes = [each for each in processes if MODEL_PROCESS not in " ".join(each.cmdline())]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


# Answers


def measure_stream(folder: Path) -> Figures:
    _fill(folder, MESSAGES, PICTURES)
    figures = run_in_terminal(folder, speak="never")
    figures |= run_in_terminal(folder, speak="never", is_in_step=True)
    return _prefix("stream", figures)


def measure_speech(folder: Path) -> Figures:
    _fill(folder, MESSAGES, PICTURES)
    return _prefix("speak", run_in_terminal(folder, speak="always"))


def measure_sound(folder: Path) -> Figures:
    synthesizer = SynthesizerProcess()
    cold = _wait_for_sound(synthesizer)
    synthesizer.synthesize(Sentence("Hello.", "en"), "heart")
    warm = _wait_for_sound(synthesizer)
    synthesizer.close()
    return {"sound_warm_s": warm, "sound_cold_s": cold}


def _wait_for_sound(synthesizer: SynthesizerProcess) -> float:
    """Return the seconds from the end of a sentence, which is streamed, to its first samples."""
    speaker = PacedSpeaker()
    narration = Narration(synthesizer, speaker.open_default)
    for piece in split_answer(SENTENCE):
        narration.write(piece)
        time.sleep(PACE_S)
    end = time.perf_counter()
    while speaker.started_at is None:
        time.sleep(0.001)
    narration.stop()
    return speaker.started_at - end


# Files


def measure_files(folder: Path) -> Figures:
    tree = folder / "tree"
    for number in range(FILES):
        parent = tree / f"{number % 20:02}" / f"{number % 400:03}"
        if number < 400:
            parent.mkdir(parents=True)
        (parent / f"holiday {number:06}.jpg").touch()
    os.chdir(tree)
    return asyncio.run(_mention_files(folder / "history"))


async def _mention_files(history: Path) -> Figures:
    async with open_chat(history, size=(120, 40)) as user:
        files = user.chat.query_one(FileList)
        options = files.query_one(FileOptions)

        async def wait_for_list() -> None:
            while not (files.display and options.option_count):
                await asyncio.sleep(0.001)

        start = time.perf_counter()
        keys = [await _press(user, "@")]
        await asyncio.wait_for(wait_for_list(), 60)
        first_list = time.perf_counter() - start
        keys += [await _press(user, key) for key in "holi"]  # while the folder is searched
        while len(files._files) < FILES:
            await asyncio.sleep(0.01)
        searched = time.perf_counter() - start
        lists = []
        for number in range(len(DIGITS)):
            start, typed = time.perf_counter(), DIGITS[: number + 1]
            keys.append(await _press(user, typed[-1]))
            while files._listed != f"holi{typed}":
                await asyncio.sleep(0.001)
            lists.append(time.perf_counter() - start)
        return {
            "files_first_list_s": first_list,
            "files_searched_s": searched,
            "files_key_s": max(keys),
            "files_list_s": max(lists),
        }


async def _press(user: User, character: str) -> float:
    """Type a character, and return the seconds until the prompt has it."""
    before, start = user.composer.text, time.perf_counter()
    user.app.post_message(Key(character, character))
    while user.composer.text == before:
        await asyncio.sleep(0.001)
    return time.perf_counter() - start


# Memory and search


def measure_memory(folder: Path) -> Figures:
    _fill(folder, MESSAGES, PICTURES)
    return asyncio.run(_read_through(folder))


async def _read_through(folder: Path) -> Figures:
    process = psutil.Process()
    async with open_chat(folder, size=(120, 40)) as user:
        empty = process.memory_info().rss
        start = time.perf_counter()
        await user.type("/resume", "enter")
        await user.press("down", "enter")
        took = time.perf_counter() - start
        opened = process.memory_info().rss
        while user.earlier:
            user.earlier.focus()
            await user.press("enter")
        assert len(user.messages) == MESSAGES
        read_through = process.memory_info().rss
        sizes = {"empty": empty, "opened": opened, "read_through": read_through}
        memory = {f"memory_{name}_mib": size / 2**20 for name, size in sizes.items()}
        return {"open_500_messages_s": took} | memory


def measure_search(folder: Path) -> Figures:
    history = _fill(folder, messages=20, pictures=0, conversations=500)
    took = []
    for words in ("river", "may flow", "number77", "nothing of the kind"):
        start = time.perf_counter()
        history.search(words)
        took.append(time.perf_counter() - start)
    return {"slowest_search_s": max(took)}


def _fill(folder: Path, messages: int, pictures: int, conversations: int = 1) -> History:
    """Store questions, some with a random picture, and answers."""
    history = History(folder)
    history._database.read("PRAGMA synchronous = OFF")
    random = np.random.default_rng(0)
    questions = messages // 2
    for index in range(conversations):
        conversation = Conversation()
        for number in range(questions):
            files: tuple[Attachment, ...] = ()
            if pictures and number % (questions // pictures) == 0:
                files = (_store_picture(history, folder / "photo.jpg", number, random),)
            question = conversation.say(f"What about number{index} {number}?", files)
            history.save(conversation, question)
            answer = conversation.answer()
            answer.text, answer.state = ANSWER, "complete"
            history.save(conversation, answer)
    return history


def _store_picture(
    history: History, file: Path, number: int, random: np.random.Generator
) -> Attachment:
    pixels = random.integers(0, 255, (30, 40, 3), np.uint8)
    Image.fromarray(pixels).resize((1600, 1200)).save(file)
    data = file.read_bytes()
    sha256 = history.add_attachment(data)
    return Attachment(sha256, "image", f"{number}.jpg", len(data), "1600 x 1200")


def _prefix(name: str, figures: dict[str, Any]) -> Figures:
    return {f"{name}_{key}": value for key, value in figures.items()}


if __name__ == "__main__":
    main()
