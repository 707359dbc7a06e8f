"""Pictures and sounds of replies in a chat: stored, sent back, exported, saved and deleted."""

import base64
import re
import resource
import zlib

import pytest
from reply_media import (
    make_picture,
    make_samples,
    make_wav,
    reply_with_picture,
    reply_with_sound,
    stream,
    to_delta,
    to_image,
    to_uri,
)
from scripted_server import reply, to_part
from server_chat import ServerChat

from mmtui.chat import export
from mmtui.chat.history.history import History
from mmtui.chat.reply_files import find_reply_files, find_sound, save_attachments, save_bytes
from mmtui.errors import InputError, MmtuiError, UsageError

PICTURE = make_picture()


def last_files(chat: ServerChat) -> list[tuple[str, str, str]]:
    """Return kind, name and detail of the files of the last message."""
    message = chat.session.conversation.thread[-1]
    return [(file.kind, file.name, file.detail) for file in message.attachments]


def test_a_picture_is_kept_with_the_conversation(connect):
    chat = connect(reply_with_picture("A cat."), reply("Thanks."))
    assert chat.ask("Draw a cat.") == "A cat."
    assert last_files(chat) == [("image", "picture.png", "40 x 30")]
    (file,) = chat.session.conversation.thread[-1].attachments
    assert chat.session.file(file).read_bytes() == PICTURE
    chat.session.store.flush().result()
    stored = History(chat.folder).conversation(chat.session.conversation.id)
    assert stored.thread[-1].attachments == (file,) and chat.notices == []
    chat.ask("Nice.")
    messages = chat.server.completions[-1].json["messages"]
    assert messages[1] == {"role": "assistant", "content": "A cat."}


def test_several_pictures_have_different_names_and_other_formats_their_suffix(connect):
    files = [make_picture("red"), make_picture("blue"), make_picture("red", "JPEG")]
    images = [to_image(to_uri(data)) for data in files]
    chat = connect(stream(to_delta(images=images)))
    chat.ask("Draw.")
    names = [name for _, name, _ in last_files(chat)]
    assert names == ["picture.png", "picture-2.png", "picture.jpg"]


def test_a_sound_without_a_header_becomes_a_wav_file(connect):
    chat = connect(reply_with_sound("Good ", "morning."))
    assert chat.ask("Say something.") == "Good morning."
    assert last_files(chat) == [("audio", "sound.wav", "1.0 s")]
    (file,) = chat.session.conversation.thread[-1].attachments
    assert chat.session.file(file).read_bytes() == make_wav(make_samples())
    with pytest.raises(UsageError, match="no recording"):
        chat.session.conversation.last_recording()
    assert find_sound((), chat.session.conversation) == file


@pytest.mark.parametrize(
    ("delta", "notice"),
    [
        (
            {"images": [to_image(to_uri(b"no picture" * 50))]},
            "a picture of the answer: this is not",
        ),
        ({"images": [to_image(to_uri(PICTURE[:600]))]}, "a picture of the answer: the picture is"),
        ({"images": [to_image("data:image/png;base64,%%%")]}, "its base64 is damaged"),
        ({"audio": {"data": base64.b64encode(b"RIFF....").decode()}}, "the sound of the answer is"),
    ],
)
def test_a_broken_file_is_one_notice_and_the_text_stays(connect, delta, notice):
    chat = connect(stream(to_part("A cat."), to_delta(**delta)))
    assert chat.ask("Draw.") == "A cat." and last_files(chat) == []
    (shown,) = chat.notices
    assert notice in shown.text and "\n" not in shown.text
    assert chat.session.conversation.thread[-1].state == "complete"


def insert_chunk(kind: bytes, body: bytes, wrong: int = 0) -> bytes:
    """Return the picture with a chunk after its header, whose checksum may be wrong."""
    checksum = (zlib.crc32(kind + body) ^ wrong).to_bytes(4)
    return PICTURE[:33] + len(body).to_bytes(4) + kind + body + checksum + PICTURE[33:]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (insert_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2_000_000))), "picture.png"),
        (insert_chunk(b"tEXt", b"a\0b", wrong=1), "picture.png"),
        (make_picture("red", "WEBP")[:-20], "picture.webp"),
    ],
    ids=["text", "checksum", "cut off"],
)
def test_a_damaged_picture_that_can_be_decoded_is_kept(connect, data, name):
    chat = connect(reply_with_picture("A cat.", data))
    assert chat.ask("Draw.") == "A cat."
    assert last_files(chat) == [("image", name, "40 x 30")]


def test_a_picture_from_a_tool_needs_no_notice_about_the_tool(connect):
    call = {"index": 0, "id": "a", "function": {"name": "draw", "arguments": "{}"}}
    images = [to_image(to_uri(PICTURE))]
    chat = connect(stream(to_delta(tool_calls=[call]), to_delta(images=images)))
    assert chat.ask("Draw.") == "" and len(last_files(chat)) == 1
    assert chat.notices == []


def test_exports_contain_the_files_after_the_text(connect):
    chat = connect(
        reply_with_picture("A cat."), reply_with_sound("Meow.", samples=make_samples(20))
    )
    chat.ask("Draw.")
    chat.ask("Speak.")
    conversation = chat.session.conversation
    text = export.to_markdown(conversation)
    assert "A cat.\n\n> picture.png (image, 40 x 30)" in text
    assert "Meow.\n\n> sound.wav (audio, 20.0 s)" in text
    page = export.to_html(conversation, chat.session.file)
    assert page.index("A cat.") < page.index('src="data:image/jpeg;base64,')
    (played,) = re.findall(r'<audio controls src="data:audio/wav;base64,([^"]+)"', page)
    assert base64.b64decode(played) == make_wav(make_samples(20))
    assert "is_spoken" not in export.to_json(conversation)


def test_files_are_saved_under_free_names(connect, tmp_path):
    chat = connect(reply_with_picture(), reply("Nothing."))
    with pytest.raises(UsageError, match="no answer here has a picture"):
        find_reply_files(chat.session.conversation)
    with pytest.raises(UsageError, match="no sound"):
        find_sound((), chat.session.conversation)
    chat.ask("Draw.")
    chat.ask("More.")
    folder = tmp_path / "new" / "folder"
    for name in ("picture.png", "picture-2.png"):
        files = find_reply_files(chat.session.conversation)
        (saved,) = save_attachments(files, chat.session.file, folder)
        assert saved == folder / name and saved.read_bytes() == PICTURE
    odd = save_bytes(b"x", "../../.a\x1b[31m/b.png", folder)
    assert odd.parent == folder and "\x1b" not in odd.name
    with pytest.raises(MmtuiError, match="can't be written to"):
        save_attachments(files, chat.session.file, saved)


def test_the_name_of_a_broken_link_is_taken(tmp_path):
    (tmp_path / "picture.png").symlink_to(tmp_path / "gone")
    assert save_bytes(b"x", "picture.png", tmp_path) == tmp_path / "picture-2.png"
    assert not (tmp_path / "gone").exists()


def test_a_file_that_does_not_fit_is_removed(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(MmtuiError, match="can't be written to"):
            save_bytes(bytes(5000), "picture.png", tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_an_attachment_that_can_t_be_read_is_an_error(connect, tmp_path):
    chat = connect(reply_with_picture())
    chat.ask("Draw.")
    files = find_reply_files(chat.session.conversation)
    with pytest.raises(InputError, match=r"picture\.png can't be read: Is a directory"):
        save_attachments(files, lambda _: tmp_path, tmp_path / "out")


def test_deleting_the_conversation_deletes_its_files(connect):
    chat = connect(reply_with_picture())
    chat.ask("Draw.")
    chat.session.store.flush().result()
    history = History(chat.folder)
    assert len(history.referenced_files()) == 1
    history.delete(chat.session.conversation.id)
    history.purge(0)
    assert not [file for file in (chat.folder / "attachments").rglob("*") if file.is_file()]
