"""`mmtui --plain`, `mmtui history` and `mmtui config`, as people and scripts run them."""

import base64
import json
import os
import pty
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from fakes import FakeModel
from PIL import Image, ImageGrab

from mmtui.chat.commands import COMMANDS
from mmtui.chat.config import Config
from mmtui.chat.conversation import Attachment, Draft
from mmtui.chat.history.history import History
from mmtui.chat.protocol import ChatTurn, Completed, Event, Transcribed
from mmtui.chat.session import Session
from mmtui.errors import MissingError, MmtuiError
from mmtui.frontends import plain
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec, VisionSpec

HALF = (0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def tiny(tiny_llama: Path, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that sees, of chance."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(4)
    vision = VisionSpec(Asset(str(tiny_clip)), "open_clip", 64, HALF, HALF, 16, 128)
    spec = ModelSpec("tiny", LanguageSpec(Asset(str(tiny_llama)), "fp32"), vision)
    checkpoint.write(folder, spec, torch.nn.Linear(128, 64).state_dict())
    return folder


@pytest.fixture
def home(tmp_path: Path, tiny: Path) -> dict[str, str]:
    """A user of our own, with a quick model and short answers."""
    (tmp_path / "config" / "mmtui").mkdir(parents=True)
    settings = f'model = "{tiny}"\nmax_tokens = 8\n'
    (tmp_path / "config" / "mmtui" / "config.toml").write_text(settings)
    return {
        "TMPDIR": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "MMTUI_MODEL": "",
    }


@pytest.fixture
def talk(mmtui, home):
    def said(*lines: str, arguments: tuple[object, ...] = ()):
        return mmtui("--plain", *arguments, stdin="\n".join(lines).encode(), env=home)

    return said


def test_each_line_is_answered_and_kept(talk, mmtui, home):
    run = talk("Hello", "", "And now?")
    assert run.code == 0 and len(run.out.splitlines()) >= 2, run.err
    (found,) = mmtui("history", "list", "--json", env=home).json
    assert (found["title"], found["messages"]) == ("Hello", 4)
    shown = mmtui("history", "show", found["id"][:6], env=home).out
    assert shown.count("**You**") == 2 and shown.count("**mmtui**") == 2


def test_a_byte_that_is_no_letter_is_replaced(mmtui, home):
    strict = home | {"PYTHONIOENCODING": "utf-8:strict"}
    run = mmtui("--plain", stdin=b"caf\xe9\nAnd now?\n", env=strict)
    assert run.code == 0 and len(run.out.splitlines()) >= 2, run.err


def test_a_conversation_goes_on_in_another_process(talk, mmtui, home):
    talk("Hello")
    again = talk("More", arguments=("--resume",))
    assert "> Hello" in again.err
    (found,) = mmtui("history", "list", "--json", env=home).json
    assert found["messages"] == 4
    history = History(Path(home["XDG_DATA_HOME"]) / "mmtui")
    staged = Attachment(history.add_attachment(b"x"), "image", "draft.png", 1)
    history.save_draft(history.conversation(found["id"]), Draft("And wh", (staged,)))
    history.close()
    run = talk("Hm", arguments=("--resume", found["id"][:8]))
    assert run.code == 0 and "attached: draft.png" in run.err
    assert "not sent yet: And wh" in run.err
    assert "attached" not in talk("Hm", arguments=("--resume", found["id"][:8])).err.split(">")[0]
    run = talk("Hm", arguments=("--resume", "zzz"))
    assert (run.code, "no conversation begins" in run.err) == (4, True)


def test_pictures_come_by_option_command_and_path(talk, tmp_path, mmtui, home):
    for name in ("a.png", "b c.png", "d.png"):
        Image.new("RGB", (20, 10), "red").save(tmp_path / name)
    run = talk(
        f"/image {tmp_path / 'b c.png'}", f"'{tmp_path / 'd.png'}'", "What are these?",
        "/image nothing.png", arguments=("--image", tmp_path / "a.png"),
    )  # fmt: skip
    assert run.err.count("attached: ") == 3
    assert "error: nothing.png: there is no such file" in run.err
    (found,) = mmtui("history", "list", "--json", env=home).json
    page = tmp_path / "talk.html"
    assert mmtui("history", "export", found["id"], page, env=home).code == 0
    assert page.read_text("utf-8").count("<img") == 3


def test_commands_steer_the_chat(talk, tmp_path):
    file = tmp_path / "talk.json"
    run = talk(
        "/system Be brief.", "One", "/retry", "/edit Two", "/rename Numbers", f"/export {file}",
        "/sampling temperature=0.5", "/history num", "/help", "/branch", "/new", "/history",
        "/quit", "never said",
    )  # fmt: skip
    assert run.code == 0, run.err
    document = json.loads(file.read_text())
    assert (document["title"], document["system"]) == ("Numbers", "Be brief.")
    said = [(m["role"], m["text"]) for m in document["messages"] if m["role"] == "user"]
    assert said == [("user", "One"), ("user", "Two")] and len(document["messages"]) == 5
    assert "/export PATH" in run.err and run.err.count("Numbers") == 2
    assert "never said" not in run.out + run.err


def test_models_and_sampling_are_told_and_changed(talk, tiny):
    run = talk(
        "/model", "/sampling", f"/model {tiny}", "/sampling top_p=0.5 max_tokens=3", "/transcribe",
        "Hello",
    )  # fmt: skip
    assert "smol" in run.err and "sees" in run.err
    assert "temperature=0.0 top_p=0.95 max_tokens=8" in run.err
    assert "temperature=0.0 top_p=0.5 max_tokens=3" in run.err
    assert "there is no recording in this conversation" in run.err and run.code == 0


def test_what_can_t_be_done_is_told_and_the_chat_goes_on(talk):
    run = talk(
        "/nothing", "/image", "/retry", "/continue", "/sampling temperature=hot", "/resume x",
        "/export x.txt", "/copy", "Hello", "/copy",
    )  # fmt: skip
    assert run.err.count("error: ") == 9 and run.err.count("hint: ") == 9
    assert "there is no answer yet" in run.err and "no clipboard that mmtui can reach" in run.err
    assert run.code == 0 and run.out.strip() and "\x1b" not in run.out


def test_hostile_text_does_not_drive_the_terminal(talk, mmtui, home):
    run = talk("\x1b]52;c;aGk=\x07hello \x9b2J", "/history hello", arguments=())
    assert not {"\x1b", "\x07", "\x9b"} & set(run.out + run.err)
    for command in (["list"], ["search", "hello"]):
        shown = mmtui("history", *command, env=home).out
        assert "hello" in shown and not {"\x1b", "\x07"} & set(shown)


def test_ctrl_c_stops_the_answer_and_keeps_it(home, mmtui):
    process = subprocess.Popen(
        [Path(sys.executable).with_name("mmtui"), "--plain"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, **home, "MMTUI_MAX_TOKENS": "1000000"},
    )  # fmt: skip
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(b"Hello\n")
    process.stdin.flush()
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    for line in process.stderr:
        if b"stopped; /continue goes on" in line:
            break
    process.stdin.write(b"/quit\n")
    process.stdin.close()
    process.stdout.read()
    assert process.wait(60) == 0
    (found,) = mmtui("history", "list", "--json", env=home).json
    assert "*(stopped here)*" in mmtui("history", "show", found["id"], env=home).out


class Recording:
    """Goes on for as long as a test says; what is typed `then` comes when it is finished."""

    level = 0.25

    def __init__(self, seconds: float = 2.0, error: MmtuiError | None = None) -> None:
        self.seconds, self.error = seconds, error
        self.interrupts = False
        self.then: Callable[[], None]

    @property
    def is_full(self) -> bool:
        if self.interrupts:
            signal.raise_signal(signal.SIGINT)
        return self.seconds >= 15

    def finish(self) -> np.ndarray:
        self.then()
        return np.full(int(self.seconds * 16_000), 0.1, np.float32)


class Microphone:
    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.chosen: str | None = None

    def devices(self) -> list[str]:
        return ["Fake Mic", "Other Mic"]

    def record(self, device: str | None = None) -> Recording:
        self.chosen = device
        return self._recording


class Listener(FakeModel):
    """Hears what a test says, and answers with nothing."""

    def __init__(self, hears: str | None, events: "queue.Queue[Event]") -> None:
        super().__init__()
        self._hears, self._events = hears, events

    def transcribe(self, clip) -> int:
        number = super().transcribe(clip)
        self._events.put(Transcribed(number, self._hears))
        return number

    def generate(self, *asked, **named) -> int:
        number = super().generate(*asked, **named)
        self._events.put(Completed(number, "stop", 20, 8, 1, 0.1, 50.0))
        return number


class Spoken(NamedTuple):
    model: Listener
    microphone: Microphone
    err: str


@pytest.fixture
def speak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Types to a chat with a microphone; its stdin stays open while it records."""

    def spoken(
        typed: str | bytes,
        then: str = "",
        recording: Recording | None = None,
        hears: str = "tell a joke",
    ) -> Spoken:
        ours, theirs = os.pipe()
        monkeypatch.setattr(sys, "stdin", os.fdopen(ours))
        recording = recording or Recording()

        def types(text: str = then) -> None:
            os.write(theirs, text.encode())
            os.close(theirs)

        recording.then = types
        os.write(theirs, typed if isinstance(typed, bytes) else typed.encode())
        if isinstance(typed, bytes) or "/record" not in typed:
            types()
        events: queue.Queue[Event] = queue.Queue()
        model, microphone = Listener(hears, events), Microphone(recording)
        session = Session(model, History(tmp_path / "store"), Config(), plain.tell)
        plain.Plain(session, microphone, events).run()
        session.close()
        return Spoken(model, microphone, capsys.readouterr().err)

    return spoken


def test_enter_ends_a_recording_which_is_heard_and_said(speak):
    spoken = speak("/microphone Other Mic\n/record\n\n", then="Please.\n")
    assert spoken.microphone.chosen == "Other Mic" and "  Fake Mic\n* Other Mic\n" in spoken.err
    assert "recording, Enter ends it, 15 s at the most" in spoken.err and "\r" not in spoken.err
    assert "heard: tell a joke" in spoken.err and "attached: voice.wav" in spoken.err
    assert len(spoken.model.clips[0]) == 32_000
    assert spoken.model.asked == [(ChatTurn("user", "tell a joke\nPlease."),)]


def test_a_recording_ends_by_itself_and_the_next_line_is_a_message(speak):
    spoken = speak("/record\n", then="Please.\nAnd now?\n", recording=Recording(seconds=15.0))
    assert len(spoken.model.clips[0]) == 240_000
    assert [turns[-1].text for turns in spoken.model.asked] == ["tell a joke\nPlease.", "And now?"]


def test_files_that_a_line_names_go_with_it(speak, cat):
    spoken = speak(f"what is in {cat}?\nhttps://example.org/cat.png\n")
    (question,) = spoken.model.asked[0]
    assert (question.text, len(question.pictures)) == (f"what is in {cat}?", 1)
    assert "attached: a cat.png, 40 x 30" in spoken.err
    assert len(spoken.model.asked) == 1 and "mmtui opens no web addresses" in spoken.err


def test_lines_are_read_in_any_encoding(speak):
    spoken = speak("Où est-il?\nEt là?\n".encode("utf-16"))
    assert [turns[-1].text for turns in spoken.model.asked] == ["Où est-il?", "Et là?"]


def test_words_that_end_a_recording_are_the_next_message(speak):
    spoken = speak("/record\nPlease.\n")
    assert spoken.model.asked == [(ChatTurn("user", "tell a joke\nPlease."),)]


def test_a_microphone_that_is_missing_or_unplugged_is_told_before_enter(speak):
    missing = Recording(0.0, MissingError("there is no microphone", "plug one in"))
    spoken = speak("/record\n", recording=missing)
    assert "error: there is no microphone\nhint: plug one in" in spoken.err
    assert spoken.model.clips == []
    gone = Recording(2.0, MissingError("the microphone is gone", "plug it in again"))
    spoken = speak("/record\n", then="Please.\n", recording=gone)
    assert "error: the microphone is gone\nhint: plug it in again" in spoken.err
    assert spoken.model.asked == [(ChatTurn("user", "tell a joke\nPlease."),)]


def test_ctrl_c_throws_a_recording_away(speak):
    recording = Recording()
    recording.interrupts = True
    spoken = speak("/record\n", then="Please.\n", recording=recording)
    assert "thrown away" in spoken.err and spoken.model.clips == []
    assert spoken.model.asked == [(ChatTurn("user", "Please."),)]


def test_silence_is_told_and_not_attached(speak):
    spoken = speak("/record\n\n", hears="")
    assert "error: no speech found" in spoken.err and "attached" not in spoken.err
    muted = Recording(0.0, MissingError("the microphone gives nothing but silence", "muted?"))
    spoken = speak("/record\n\n", recording=muted, hears="unheard")
    assert "error: the microphone gives nothing but silence\nhint: muted?" in spoken.err
    assert "no speech" not in spoken.err and "attached" not in spoken.err


def test_microphones_are_told_and_the_clipboard_is_attached(speak, monkeypatch):
    monkeypatch.setattr(ImageGrab, "grabclipboard", lambda: Image.new("RGB", (40, 30)))
    spoken = speak("/microphone\n/microphone Fake Mic\n/paste\nWhat is it?\n")
    assert "  Fake Mic\n  Other Mic\n* Fake Mic\n  Other Mic\n" in spoken.err
    assert "attached: clipboard.png, 40 x 30" in spoken.err
    assert len(spoken.model.asked[0][0].pictures) == 1


def test_every_command_does_something_or_says_what_does(speak, monkeypatch):
    monkeypatch.setattr(ImageGrab, "grabclipboard", lambda: None)
    names = [command.name for command in COMMANDS if command.name not in ("record", "quit")]
    words = {c.name: "1" if c.argument else "" for c in COMMANDS}
    words |= {"theme": "dark", "copy": "code"}
    spoken = speak("".join(f"/{name} {words[name]}\n" for name in names))
    assert "Ctrl-C stops an answer" in spoken.err and "terminal's own" in spoken.err
    assert all(f"/{name} " in spoken.err for name in names)


SOUND = """
import numpy
class PortAudioError(Exception): pass
def query_devices(device=None, kind=None):
    return [{"name": "Fake Mic", "index": 0, "max_input_channels": 1}]
def check_input_settings(device=None, channels=None, samplerate=None): pass
class InputStream:
    active = True
    def __init__(self, **_): pass
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def read(self, count): return numpy.full((count, 1), 99, numpy.int16), False
"""


@pytest.fixture
def terminal(home, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """`mmtui --plain` in a terminal, and a microphone that is quicker than time."""
    (tmp_path / "sounddevice.py").write_text(SOUND)
    keyboard, screen = pty.openpty()
    process = subprocess.Popen(
        [Path(sys.executable).with_name("mmtui"), "--plain"],
        stdin=screen, stdout=screen, stderr=screen, start_new_session=True,
        env={**os.environ, **home, "PYTHONPATH": str(tmp_path), "TERM": "xterm"},
    )  # fmt: skip
    os.close(screen)

    def shows(*awaited: str, after: str = "") -> str:
        """What comes after a line is typed, until it holds all that is awaited, in turn."""
        os.write(keyboard, after.encode())
        shown, at = "", 0
        for text in awaited:
            while (found := shown.find(text, at)) < 0:
                shown += os.read(keyboard, 1000).decode(errors="replace")
            at = found + len(text)
        return shown

    yield shows
    process.kill()
    process.wait()
    os.close(keyboard)


def test_in_a_terminal_a_recording_counts_down_and_answers_are_copied(terminal):
    terminal("> ")
    shown = terminal("15 s left", "attached: voice.wav", "> ", after="/record\n")
    assert "\rrecording, Enter ends it, 15 s left" in shown
    terminal("\n", "\n> ", after="Hello\n")  # read by what waited for Enter
    shown = terminal("to the terminal", "> ", after="/copy\n")
    _, _, encoded = shown.partition("\x1b]52;c;")
    assert base64.b64decode(encoded.partition("\a")[0]).decode().strip()


def test_speech_is_heard_before_it_is_said(talk, shared, smol):
    clip = shared / "speech" / "LJ001-0001.wav"
    run = talk(f"/audio {clip}", arguments=("--model", "smol"))
    assert "heard: " in run.err and "printing" in run.err.lower(), run.err


def test_the_history_is_managed_from_the_shell(talk, mmtui, home):
    talk("Tell me about volcanoes")
    (found,) = mmtui("history", "search", "volcan", "--json", env=home).json
    assert mmtui("history", "delete", found["id"][:8], env=home).code == 0
    assert mmtui("history", "list", "--json", env=home).json == []
    assert mmtui("history", "restore", found["id"][:8], env=home).code == 0
    assert len(mmtui("history", "list", "--json", env=home).json) == 1
    run = mmtui("history", "show", "zzz", env=home)
    assert (run.code, "no conversation begins" in run.err) == (4, True)


def test_a_home_that_can_t_be_written_is_told_once(talk, home, tmp_path):
    (tmp_path / "data").write_text("a file")
    run = talk("Hello", "Again")
    assert run.code == 0 and len(run.out.splitlines()) >= 2
    assert run.err.count("meanwhile this chat is kept in") == 1


def test_the_shell_completes_commands(mmtui):
    asked = {"_MMTUI_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "mmtui history ex"}
    assert '"export"' in mmtui(env=asked).out


def test_settings_are_shown_and_checked(mmtui, home, tmp_path):
    shown = mmtui("config", "show", "--json", env=home | {"MMTUI_THEME": "light"}).json
    assert (shown["theme"], shown["max_tokens"]) == ("light", 8)
    file = Path(mmtui("config", "path", env=home).out.strip())
    assert file.read_text().startswith("model = ")
    editor = {"EDITOR": f"{sys.executable} -c \"open(__import__('sys').argv[1],'a').write('x=1')\""}
    run = mmtui("config", "edit", env=home | editor | {"VISUAL": ""})
    assert (run.code, "there is no setting 'x'" in run.err) == (2, True)
    run = mmtui("--plain", env=home)
    assert run.code == 2 and "there is no setting 'x'" in run.err
    run = mmtui("config", "edit", env=home | {"EDITOR": "", "VISUAL": ""})
    assert (run.code, str(file) in run.err) == (2, True)


def test_what_can_t_be_done_or_sent_is_shown_again(speak):
    spoken = speak("/quit now\n/Drop it\n/model no-such-model\n /quit now\n/Quit\nno more\n")
    for line in ("/quit now", "/Drop it", "/model no-such-model"):
        assert f"not done: {line}\n" in spoken.err
    assert "there is no model no-such-model" in spoken.err and spoken.model.name == "fake"
    assert [turns[-1].text for turns in spoken.model.asked] == ["/quit now"]
