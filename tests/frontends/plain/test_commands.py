"""The commands of the plain chat."""

import json

from PIL import Image, ImageGrab

from mmtui.chat.commands import COMMANDS


def test_pictures_are_attached_by_option_command_and_path(talk, tmp_path, mmtui, home):
    for name in ("a.png", "b c.png", "d.png"):
        Image.new("RGB", (20, 10), "red").save(tmp_path / name)
    run = talk(
        f"/image {tmp_path / 'b c.png'}", f"'{tmp_path / 'd.png'}'", "What are these?",
        "/image nothing.png", arguments=("--image", tmp_path / "a.png"),
    )  # fmt: skip
    assert run.err.count("attached: ") == 3
    assert "error: no such file: nothing.png" in run.err
    (found,) = mmtui("history", "list", "--json", env=home).json
    page = tmp_path / "talk.html"
    assert mmtui("history", "export", found["id"], page, env=home).code == 0
    assert page.read_text("utf-8").count("<img") == 3


def test_commands_change_the_conversation(talk, tmp_path):
    file = tmp_path / "talk.json"
    run = talk(
        "/system Be brief.", "One", "/retry", "/edit Two", "/rename Numbers", f"/export {file}",
        "/sampling temperature=0.5", "/history num", "/help", "/branch", "/new", "/history",
        "/quit", "never sent",
    )  # fmt: skip
    assert run.code == 0, run.err
    document = json.loads(file.read_text())
    assert (document["title"], document["system"]) == ("Numbers", "Be brief.")
    messages = [(m["role"], m["text"]) for m in document["messages"] if m["role"] == "user"]
    assert messages == [("user", "One"), ("user", "Two")] and len(document["messages"]) == 5
    assert "/export PATH" in run.err and run.err.count("Numbers") == 2
    assert "never sent" not in run.out + run.err


def test_models_and_sampling_are_listed_and_changed(talk, tiny):
    run = talk(
        "/model", "/sampling", f"/model {tiny}", "/sampling top_p=0.5 max_tokens=3", "/transcribe",
        "Hello",
    )  # fmt: skip
    assert "smol" in run.err and "vision" in run.err
    assert "temperature=0.0 top_p=0.95 max_tokens=8" in run.err
    assert "temperature=0.0 top_p=0.5 max_tokens=3" in run.err
    assert "there is no recording in this conversation" in run.err and run.code == 0


def test_microphones_are_listed_and_the_clipboard_is_attached(chat, monkeypatch):
    monkeypatch.setattr(ImageGrab, "grabclipboard", lambda: Image.new("RGB", (40, 30)))
    run = chat("/microphone\n/microphone Fake Mic\n/paste\nWhat is it?\n")
    assert "  Fake Mic\n  Other Mic\n* Fake Mic\n  Other Mic\n" in run.err
    assert "attached: clipboard.png, 40 x 30" in run.err
    assert len(run.model.asked[0][0].pictures) == 1


def test_every_command_is_implemented(chat, monkeypatch):
    monkeypatch.setattr(ImageGrab, "grabclipboard", lambda: None)
    names = [command.name for command in COMMANDS if command.name not in ("record", "quit")]
    words = {c.name: "1" if c.argument else "" for c in COMMANDS}
    words |= {"theme": "dark", "copy": "code"}
    run = chat("".join(f"/{name} {words[name]}\n" for name in names))
    assert "Ctrl+C stops an answer" in run.err and "the terminal sets the colours" in run.err
    assert all(f"/{name} " in run.err for name in names)
