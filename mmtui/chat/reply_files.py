"""The pictures and the sound of a reply: checked, added to a message, and saved as files."""

import errno
import io
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mmtui.chat.attachments import LoadedFile, load_picture
from mmtui.chat.conversation import Attachment, Conversation, Message
from mmtui.chat.notice import Notice
from mmtui.chat.protocol import FileLeftOut, FileReceived, Piece, ReplyPart
from mmtui.endpoint.media import LeftOut, ReplyFile
from mmtui.errors import InputError, MmtuiError, UsageError
from mmtui.text import one_line

FindFile = Callable[[Attachment], Path]  # returns the file of an attachment; raises InputError


def load_reply_file(file: ReplyFile) -> LoadedFile:
    """Decode a picture or a sound that a server sent.

    Raises:
        InputError: It is not what the server says, or damaged, or too large.
    """
    return _load_picture(file.data) if file.kind == "image" else _load_sound(file.data)


def to_event(number: int, part: ReplyFile | LeftOut) -> FileReceived | FileLeftOut:
    """Return the event for a picture or a sound of the reply to the request `number`."""
    if isinstance(part, LeftOut):
        return FileLeftOut(number, part.message)
    try:
        file = load_reply_file(part)
    except InputError as error:
        return FileLeftOut(number, str(error), error.hint)
    return FileReceived(number, part.kind, file.name, file.data, file.detail, file.notes)


def extend_reply(
    reply: Message,
    event: ReplyPart,
    store: Callable[[LoadedFile], Attachment],
    notify: Callable[[Notice], None],
) -> bool:
    """Add what an event brings to a reply.

    Args:
        reply: The reply that is being written.
        event: The event.
        store: Stores a file.
        notify: Called with why a file is left out.

    Returns:
        Whether the reply has more to show now; thinking does not count.
    """
    if isinstance(event, Piece):
        if event.is_thinking:
            reply.thinking += event.text
            return False
        if event.is_tool:
            reply.tools += event.text
        else:
            reply.text += event.text
            reply.is_spoken |= event.is_spoken
        return True
    if isinstance(event, FileLeftOut):
        notify(Notice(event.message, event.hint))
        return False
    names = {file.name for file in reply.attachments}
    name = _find_free(event.name, names.__contains__)
    file = LoadedFile(event.kind, name, event.data, event.detail, notes=event.notes)
    try:
        stored = store(file)
    except MmtuiError as error:  # there is no space
        notify(Notice(str(error), error.hint))
        return False
    reply.attachments += (stored,)
    return True


def find_sound(staged: Sequence[Attachment], conversation: Conversation) -> Attachment:
    """Return the last sound of the next message, or else of the conversation.

    Raises:
        UsageError: There is none.
    """
    files = [file for message in conversation.thread for file in message.attachments]
    sounds = [file for file in (*files, *staged) if file.kind == "audio"]
    if not sounds:
        raise UsageError("there is no sound in this conversation")
    return sounds[-1]


def find_reply_files(conversation: Conversation) -> tuple[Attachment, ...]:
    """Return the files of the last reply that has some.

    Raises:
        UsageError: No reply has any.
    """
    for message in reversed(conversation.thread):
        if message.role == "assistant" and message.attachments:
            return message.attachments
    raise UsageError("no answer here has a picture or a sound")


def save_attachments(files: Iterable[Attachment], find: FindFile, folder: Path) -> list[Path]:
    """Copy attachments to a folder, which is created if it does not exist.

    No file is replaced: a name that is taken gets a number.

    Raises:
        InputError: The file of an attachment is gone, or can't be read.
        MmtuiError: The folder can't be written.
    """
    return [save_bytes(_read(find(file), file.name), file.name, folder) for file in files]


def save_bytes(data: bytes, name: str, folder: Path) -> Path:
    """Write a file, and return its path, which has a number if the name is taken.

    Raises:
        MmtuiError: The folder can't be written, or there is no space.
    """
    safe_name = one_line(name).replace("/", "_").lstrip(".") or "file"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = _create_file(folder, safe_name)
        try:
            path.write_bytes(data)
        except OSError:
            path.unlink(missing_ok=True)  # it is cut off
            raise
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise MmtuiError(
            f"{folder} can't be written to: {error.strerror}",
            "free some disk space" if is_full else "choose another folder",
        ) from error
    return path


def _create_file(folder: Path, name: str) -> Path:
    """Create an empty file under a name that is free."""
    while True:
        # A link is taken even if what it points to is gone.
        path = folder / _find_free(name, lambda tried: os.path.lexists(folder / tried))
        with suppress(FileExistsError):  # another program was faster
            path.touch(exist_ok=False)
            return path


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{name} can't be read: {error.strerror}") from error


def _load_picture(data: bytes) -> LoadedFile:
    loaded = load_picture(data, "picture", "a picture of the answer")
    from mmtui.pipeline.vision.images import find_format

    return replace(loaded, name=f"picture.{find_format(data)}")


def _load_sound(data: bytes) -> LoadedFile:
    from mmtui.pipeline.speech import sound_stream

    suffix = sound_stream.find_format(data)
    if not suffix:
        data, suffix = sound_stream.add_header(data), "wav"
    try:
        seconds = sound_stream.measure_seconds(io.BytesIO(data))
    except InputError as error:
        raise InputError("the sound of the answer is damaged, or in an unknown format") from error
    return LoadedFile("audio", f"sound.{suffix}", data, f"{seconds:.1f} s")


def _find_free(name: str, is_taken: Callable[[str], bool]) -> str:
    """Return a name, with a number before its suffix if it is taken."""
    path, number, found = Path(name), 1, name
    while is_taken(found):
        number += 1
        found = f"{path.stem}-{number}{path.suffix}"
    return found
