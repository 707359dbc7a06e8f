"""`mmtui --plain`, `mmtui history` and `mmtui config`, as people and scripts run them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmtui.pipeline import checkpoint
from mmtui.pipeline.spec import Asset, LanguageSpec, ModelSpec, VisionSpec

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
    assert talk("Hm", arguments=("--resume", found["id"][:8])).code == 0
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
    assert "/export PATH" in run.err and run.err.count("Numbers") == 1
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
        "/export x.txt", "/copy", "Hello",
    )  # fmt: skip
    assert run.err.count("error: ") == 8 and run.err.count("hint: ") == 8
    assert run.code == 0 and run.out.strip()


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
    assert run.err.count("this chat is not kept") == 1


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
