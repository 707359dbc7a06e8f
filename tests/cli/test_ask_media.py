"""`mmtui ask` with a model that returns pictures and sounds."""

import hashlib
import wave

from command_line import assert_error
from reply_media import (
    RATE,
    make_picture,
    make_samples,
    reply_with_picture,
    reply_with_sound,
    stream,
    to_delta,
    to_image,
    to_uri,
)
from scripted_server import ScriptedServer, send, to_part


def ask(mmtui, step, *options):
    with ScriptedServer(step) as server:
        return mmtui("ask", "--endpoint", server.url, *options, "Draw a cat.")


def test_a_note_says_what_is_received_and_how_to_keep_it(mmtui):
    run = ask(mmtui, reply_with_picture("A cat."))
    assert (run.code, run.out) == (0, "A cat.\n")
    note = "the answer has a picture, 40 x 30; it is not kept; ask again with --save-media FOLDER"
    assert run.err == f"{note}\n"


def test_pictures_and_sounds_are_saved_and_listed(mmtui, tmp_path):
    folder = tmp_path / "new" / "out"
    for name in ("picture.png", "picture-2.png"):
        run = ask(mmtui, reply_with_picture("A cat."), "--save-media", folder)
        assert (run.code, run.out) == (0, "A cat.\n"), run.err
        assert run.err == f"saved as {folder / name}: a picture, 40 x 30\n"
        assert (folder / name).read_bytes() == make_picture()
    run = ask(mmtui, reply_with_sound("Meow."), "--save-media", folder, "--json")
    data = (folder / "sound.wav").read_bytes()
    assert run.json["answer"] == "Meow." and run.json["media"] == [
        {
            "kind": "audio",
            "path": str(folder / "sound.wav"),
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "detail": "1.0 s",
        }
    ]
    assert ask(mmtui, reply_with_picture(), "--json").json["media"][0]["path"] is None


def test_what_is_broken_is_one_note_and_the_text_stays(mmtui, tmp_path):
    images = [to_image(to_uri(b"no picture" * 99)), to_image("data:image/png;base64,%")]
    step = stream(to_part("A cat."), to_delta(images=images))
    run = ask(mmtui, step, "--save-media", tmp_path / "out")
    assert (run.code, run.out) == (0, "A cat.\n") and not (tmp_path / "out").exists()
    assert len(run.err.splitlines()) == 2
    assert all(line.startswith("note: a picture of the answer") for line in run.err.splitlines())


def test_what_arrived_before_a_fault_is_saved(mmtui, tmp_path):
    cut_off = send(to_part("A cat."), to_delta(images=[to_image(to_uri(make_picture()))]))
    run = ask(mmtui, cut_off, "--save-media", tmp_path)
    assert (run.code, run.out) == (1, "A cat.\n") and "closed the connection" in run.err
    assert (tmp_path / "picture.png").read_bytes() == make_picture()


def test_the_text_is_printed_if_a_file_can_t_be_saved(mmtui, tmp_path):
    run = ask(mmtui, reply_with_picture("A cat."), "--json", "--save-media", tmp_path / ("x" * 300))
    assert run.code == 1 and "can't be written to: File name too long" in run.err
    assert run.json["answer"] == "A cat." and run.json["media"][0]["path"] is None


def test_a_picture_from_a_tool_needs_no_note_about_the_tool(mmtui):
    call = {"index": 0, "id": "a", "function": {"name": "draw", "arguments": "{}"}}
    images = [to_image(to_uri(make_picture()))]
    run = ask(mmtui, stream(to_delta(tool_calls=[call]), to_delta(images=images)))
    assert run.code == 0 and run.err.startswith("the answer has a picture")


def test_a_sound_is_written_instead_of_a_voice_that_reads_the_text(mmtui, tmp_path):
    file = tmp_path / "answer.wav"
    run = ask(mmtui, reply_with_sound("Meow, ", "said the cat."), "--speak-to", file)
    assert (run.code, run.out) == (0, "Meow, said the cat.\n"), run.err
    with wave.open(str(file)) as written:
        assert written.getframerate() == RATE
        assert written.readframes(written.getnframes()) == make_samples()


def test_wrong_folders_and_models_of_this_machine_are_refused(mmtui, tmp_path):
    file = tmp_path / "file"
    file.touch()
    run = ask(mmtui, reply_with_picture(), "--save-media", file)
    assert_error(run, 4, "is not a folder")
    run = ask(mmtui, reply_with_picture(), "--save-media", file / "pictures")
    assert_error(run, 4, "file is not a folder")
    run = mmtui("ask", "--endpoint", "", "--save-media", tmp_path, "Draw.")
    assert_error(run, 2, "--save-media needs a server")
