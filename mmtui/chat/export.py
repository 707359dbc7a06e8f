"""Export conversations as Markdown, as one HTML page with pictures and recordings, or as JSON.

Texts are untrusted: HTML in them is escaped, and only http and https links become links.
"""

import base64
import html
import io
import json
import re
import wave
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mmtui.chat.conversation import Attachment, Conversation, Message
from mmtui.chat.markdown import escape, isolate, quote
from mmtui.errors import InputError, MmtuiError, UsageError
from mmtui.files import replacing
from mmtui.pipeline import input_files
from mmtui.text import one_line, printable

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

Format = Literal["markdown", "html", "json"]
FindFile = Callable[[Attachment], Path]  # returns the file of an attachment; raises InputError
MAX_SIDE = 1200  # longer side of a picture in an HTML page, in pixels
MAX_SOUND_S = 600  # length of a sound in an HTML page

_SPEAKERS = {"user": "You", "assistant": "mmtui"}
_NOTES = {"stopped": "stopped here", "failed": "failed here", "writing": "still writing"}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<style>
 body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto;
  padding: 0 1rem; color-scheme: light dark }}
 article {{ margin: 1.5rem 0 }} header {{ font-weight: 600; opacity: .7 }}
 img {{ max-width: 100%; max-height: 24rem; border-radius: .5rem }}
 pre {{ overflow: auto; padding: .75rem; border: 1px solid #8886; border-radius: .5rem }}
 table {{ border-collapse: collapse }} td, th {{ border: 1px solid #8886; padding: .25rem .5rem }}
 figure {{ margin: .5rem 0 }} figcaption, .note {{ font-size: .85rem; opacity: .7 }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def write_export(
    conversation: Conversation, file: Path, find: FindFile, force: bool = False
) -> None:
    """Export a conversation to a file.

    Args:
        conversation: The conversation to export.
        file: The file to write; .md, .html or .json selects the format.
        find: Returns the file of an attachment.
        force: Replace `file` if it exists.

    Raises:
        UsageError: `file` has another suffix, or exists and is not to be replaced.
        InputError: `file` is a device, a link or a folder.
        MmtuiError: `file` can't be written.
    """
    formats: dict[str, Format] = {".md": "markdown", ".html": "html", ".json": "json"}
    if (format_ := formats.get(file.suffix.lower())) is None:
        hint = "for example talk.html"
        raise UsageError(f"{file}: the name must end in .md, .html or .json", hint)
    text = to_text(conversation, format_, find)
    try:
        with replacing(file) as temporary:
            if file.exists() and not force:
                raise UsageError(f"{file} exists", "choose another name")
            temporary.write_text(text, "utf-8")
    except OSError as error:
        raise MmtuiError(f"{file} can't be written: {error.strerror}") from error


def to_text(conversation: Conversation, format_: Format, find: FindFile) -> str:
    """Return the current branch of a conversation in a format; JSON has all branches."""
    if format_ == "json":
        return to_json(conversation)
    return to_html(conversation, find) if format_ == "html" else to_markdown(conversation)


def get_copy_text(conversation: Conversation, what: str = "") -> str:
    """Return the text that /copy copies.

    Args:
        conversation: The conversation to copy from.
        what: "" for the last reply, "code" for its last code block, "all" for the conversation.

    Raises:
        UsageError: There is no such text.
    """
    if what == "all":
        return to_markdown(conversation)
    text = printable(conversation.last_reply().text)
    if what == "code" and not (text := find_last_code(text)):
        raise UsageError("there is no code in the last answer")
    return text


def find_last_code(text: str) -> str:
    """Return the content of the last fenced code block of a Markdown text, or ""."""
    from markdown_it import MarkdownIt

    fences = [token.content for token in MarkdownIt().parse(text) if token.type == "fence"]
    return fences[-1] if fences else ""


def to_markdown(conversation: Conversation) -> str:
    """Return the current branch as Markdown, with the user's messages in block quotes.

    A text that could change how the following messages are read, or look like the start of one, is
    put in a code block.
    """
    parts = [f"# {escape(one_line(conversation.title))}".rstrip()]
    if conversation.system:
        parts += ["**System**", quote(_isolate(conversation.system))]
    for message in conversation.thread:
        parts.append(f"**{_SPEAKERS[message.role]}**")
        files = list(_list_files(message))
        parts += files if message.role == "user" else []
        if message.tools:
            parts.append(quote(_to_code_block(message.tools)))
        if message.text.strip():
            text = _isolate(message.text)
            parts.append(quote(text) if message.role == "user" else text)
        parts += files if message.role == "assistant" else []
        if note := _NOTES.get(message.state):
            parts.append(f"*({note})*")
    if note := _describe_omitted(conversation):
        parts.append(f"*({note})*")
    return "\n\n".join(parts) + "\n"


def _list_files(message: Message) -> Iterator[str]:
    """Yield a quote for each attachment, and for what of a document is in the prompt."""
    for file in message.attachments:
        yield quote(escape(_describe(file)))
        if file.kind == "document" and file.transcript:
            yield quote(_to_code_block(file.transcript))


def to_html(conversation: Conversation, find: FindFile) -> str:
    """Return the current branch as an HTML page that includes pictures and recordings."""
    body = []
    if conversation.system:
        body.append(f'<p class="note">System: {html.escape(printable(conversation.system))}</p>')
    body += [_to_article(message, find) for message in conversation.thread]
    if note := _describe_omitted(conversation):
        body.append(f'<p class="note">{note}</p>')
    title = html.escape(one_line(conversation.title))
    return _PAGE.format(title=title, body="\n".join(body))


def to_json(conversation: Conversation) -> str:
    """Return all branches as JSON in ASCII, which can be printed in a terminal safely."""
    document = {
        "id": conversation.id,
        "title": conversation.title,
        "system": conversation.system,
        "head": conversation.head,
        "messages": [_to_fields(message) for message in conversation],
    }
    return json.dumps(document, indent=2) + "\n"


def _to_fields(message: Message) -> dict[str, object]:
    """Return the fields of a message that are stored, without details that are unknown."""
    stored = asdict(message) | {"created": message.created.isoformat()}
    del stored["thinking"], stored["is_spoken"]
    details = {name: value for name, value in stored.pop("details").items() if value}
    if details:
        stored["details"] = details
    if not message.tools:
        del stored["tools"]
    return stored


def _to_article(message: Message, find: FindFile) -> str:
    header = f"<header>{_SPEAKERS[message.role]}</header>"
    figures = "".join(_to_figure(file, find) for file in message.attachments)
    text = _make_renderer().render(printable(message.text))
    note = _NOTES.get(message.state)
    footer = f'<p class="note">{note}</p>' if note else ""
    tools = _to_folded("tools", message.tools) if message.tools else ""
    content = f"{figures}{text}" if message.role == "user" else f"{tools}{text}{figures}"
    return f"<article>{header}{content}{footer}</article>"


def _to_folded(caption: str, text: str) -> str:
    """Return a text that is hidden until its caption, which is HTML, is clicked."""
    escaped = html.escape(printable(text))
    return f"<details><summary>{caption}</summary><pre>{escaped}</pre></details>"


def _to_figure(file: Attachment, find: FindFile) -> str:
    """Decode a file and encode it again, so that no metadata gets into the page."""
    caption = html.escape(_describe(file))
    try:
        if file.kind == "document":
            return _to_folded(caption, file.transcript)
        if file.kind == "image":
            element = f'<img alt="" src="{_to_data_url(_encode_jpeg(find(file)), "image/jpeg")}">'
        else:
            source = _to_data_url(_encode_wav(find(file)), "audio/wav")
            element = f'<audio controls src="{source}"></audio>'
    except InputError as error:
        return f'<p class="note">{caption}: {html.escape(one_line(str(error)))}</p>'
    return f"<figure>{element}<figcaption>{caption}</figcaption></figure>"


def _to_data_url(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _encode_jpeg(path: Path) -> bytes:
    image = input_files.read_picture(path).image
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def _encode_wav(path: Path) -> bytes:
    rate, blocks = input_files.read_samples(path)
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        remaining = MAX_SOUND_S * rate * 2  # bytes
        for samples in blocks:
            file.writeframes(samples[:remaining])
            remaining -= len(samples)
            if remaining <= 0:
                break
    return stream.getvalue()


def _make_renderer() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    parser.validateLink = lambda url: url.startswith(("http://", "https://"))  # type: ignore[method-assign]
    return parser


def _to_code_block(text: str) -> str:
    """Return text in a fence that is longer than any in the text."""
    text = printable(text)
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(longest + 1, 3)
    return f"{fence}\n{text}\n{fence}"


def _describe(file: Attachment) -> str:
    is_spoken = file.transcript and file.kind == "audio"
    transcript = f': "{one_line(file.transcript)}"' if is_spoken else ""
    return f"{one_line(file.name)} ({one_line(file.kind)}, {one_line(file.detail)}){transcript}"


def _describe_omitted(conversation: Conversation) -> str:
    """Return how many messages are on other branches; "" if there are none."""
    count = len(conversation) - len(conversation.thread)
    if count == 0:
        return ""
    if count == 1:
        return "1 message of another version is left out; a .json export has everything"
    return f"{count} messages of other versions are left out; a .json export has everything"


def _isolate(text: str) -> str:
    return isolate(printable(text), {name.lower() for name in (*_SPEAKERS.values(), "system")})
