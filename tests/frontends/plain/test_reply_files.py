"""Pictures and sounds in the answers of a plain chat."""

from pathlib import Path

from reply_media import make_picture, make_samples, make_wav, reply_with_picture, reply_with_sound
from scripted_server import ScriptedServer


def test_what_is_received_is_named_and_saved(mmtui, tmp_path):
    home = {"XDG_DATA_HOME": str(tmp_path / "data"), "MMTUI_MODEL": "", "MMTUI_ENDPOINT": ""}
    lines = f"/save\nDraw.\n/save {tmp_path}\nSpeak.\n/save {tmp_path}\n"
    with ScriptedServer(reply_with_picture("A cat."), reply_with_sound("Meow.")) as server:
        run = mmtui("--plain", "--endpoint", server.url, stdin=lines.encode(), env=home)
    assert (run.code, run.out) == (0, "A cat.\nMeow.\n"), run.err
    assert "error: no answer here has a picture or a sound" in run.err
    assert "received: picture.png, 40 x 30; /save copies it to a folder\n" in run.err
    assert "received: sound.wav, 1.0 s; /save copies it to a folder, /play plays it\n" in run.err
    assert f"saved as {tmp_path / 'picture.png'}\n" in run.err
    assert (tmp_path / "picture.png").read_bytes() == make_picture()
    assert (tmp_path / "sound.wav").read_bytes() == make_wav(make_samples())
    run = mmtui("--plain", "--resume", "--endpoint", server.url, env=home)
    assert "[sound.wav, 1.0 s]" in run.err


def test_a_sound_is_played_on_request(chat, tmp_path):
    file = tmp_path / "hello.wav"
    Path(file).write_bytes(make_wav(make_samples(2.0)))
    run = chat(f"/play\n/audio {file}\n/play\n")
    assert "error: there is no sound in this conversation" in run.err
    (played,) = run.speaker.played
    assert played == make_wav(make_samples(2.0)) and run.synthesizer.starts == 0
