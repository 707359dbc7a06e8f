"""A conversation as Markdown, as one HTML page with its pictures and sounds inside, or as JSON.

Texts are hostile: HTML in them is shown, not run, and only http and https links are links.
"""

import base64
import html
import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from mmtui.chat.conversation import Attachment, Conversation, Message
from mmtui.chat.markdown import contain, escape, quote
from mmtui.errors import InputError, MmtuiError, UsageError
from mmtui.files import replacing
from mmtui.pipeline import input_files
from mmtui.text import one_line, printable

Format = Literal["markdown", "html", "json"]
Find = Callable[[Attachment], Path]  # where an attachment's file is; raises InputError
SIDE = 1200  # pixels of a picture's longer side in a page

_SPEAKERS = {"user": "You", "assistant": "mmtui"}
_NOTES = {"stopped": "stopped here", "failed": "broke off here", "writing": "still writing"}
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


def write(conversation: Conversation, file: Path, find: Find, force: bool = False) -> None:
    """Export to a file, in the format that its suffix names.

    Args:
        conversation: What to export.
        file: Ends in .md, .html or .json.
        find: Where the file of an attachment is.
        force: Replace `file` if it exists.

    Raises:
        UsageError: Another suffix, or `file` exists and `force` is not given.
        InputError: `file` is a device, a link or a folder.
        MmtuiError: It can't be written.
    """
    formats: dict[str, Format] = {".md": "markdown", ".html": "html", ".json": "json"}
    if (format_ := formats.get(file.suffix.lower())) is None:
        raise UsageError(f"{file}: the name has to end in .md, .html or .json", "as in talk.html")
    text = export(conversation, format_, find)
    try:
        with replacing(file) as aside:
            if file.exists() and not force:
                raise UsageError(f"{file} is there already", "choose another name")
            aside.write_text(text, "utf-8")
    except OSError as error:
        raise MmtuiError(f"{file} can't be written: {error.strerror}") from error


def export(conversation: Conversation, format_: Format, find: Find) -> str:
    """Convert a conversation to text: the branch that is read, or all branches for JSON."""
    if format_ == "json":
        return to_json(conversation)
    return to_html(conversation, find) if format_ == "html" else to_markdown(conversation)


def text_to_copy(conversation: Conversation, what: str = "") -> str:
    """Return what /copy copies.

    Args:
        conversation: The conversation to copy from.
        what: "" for the last reply, "code" for its last code block, "all" for the conversation.

    Raises:
        UsageError: There is no such text.
    """
    if what == "all":
        return to_markdown(conversation)
    text = printable(conversation.last_reply().text)
    if what == "code" and not (text := last_code(text)):
        raise UsageError("there is no code in the last answer")
    return text


def last_code(text: str) -> str:
    """Return the last fenced block in a Markdown text; "" if there is none."""
    from markdown_it import MarkdownIt

    fences = [token.content for token in MarkdownIt().parse(text) if token.type == "fence"]
    return fences[-1] if fences else ""


def to_markdown(conversation: Conversation) -> str:
    """Write the branch that is read, with what the user said in block quotes.

    No text can run into the next message or pass for one: what could is shown as code.
    """
    parts = [f"# {escape(one_line(conversation.title))}".rstrip()]
    if conversation.system:
        parts += ["**System**", quote(_contained(conversation.system))]
    for message in conversation.thread:
        parts.append(f"**{_SPEAKERS[message.role]}**")
        parts += [quote(escape(_caption(file))) for file in message.attachments]
        if message.text.strip():
            text = _contained(message.text)
            parts.append(quote(text) if message.role == "user" else text)
        if note := _NOTES.get(message.state):
            parts.append(f"*({note})*")
    if note := _left_out(conversation):
        parts.append(f"*({note})*")
    return "\n\n".join(parts) + "\n"


def to_html(conversation: Conversation, find: Find) -> str:
    body = []
    if conversation.system:
        body.append(f'<p class="note">System: {html.escape(printable(conversation.system))}</p>')
    body += [_article(message, find) for message in conversation.thread]
    if note := _left_out(conversation):
        body.append(f'<p class="note">{note}</p>')
    title = html.escape(one_line(conversation.title))
    return _PAGE.format(title=title, body="\n".join(body))


def to_json(conversation: Conversation) -> str:
    """ASCII: exact, and inert in a terminal."""
    document = {
        "id": conversation.id,
        "title": conversation.title,
        "system": conversation.system,
        "head": conversation.head,
        "messages": [
            asdict(message) | {"created": message.created.isoformat()} for message in conversation
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _article(message: Message, find: Find) -> str:
    figures = "".join(_figure(file, find) for file in message.attachments)
    note = _NOTES.get(message.state)
    shown = f'<p class="note">{note}</p>' if note else ""
    said = _markdown().render(printable(message.text))
    header = f"<header>{_SPEAKERS[message.role]}</header>"
    return f"<article>{header}{figures}{said}{shown}</article>"


def _figure(file: Attachment, find: Find) -> str:
    """What is shown is made anew from the decoded file: nothing else of it gets into the page."""
    caption = html.escape(_caption(file))
    try:
        data, kind = (_jpeg if file.kind == "image" else _wav)(find(file))
    except InputError as error:
        return f'<p class="note">{caption}: {html.escape(one_line(str(error)))}</p>'
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    shown = (
        f'<img alt="" src="{source}">'
        if file.kind == "image"
        else f'<audio controls src="{source}"></audio>'
    )
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>"


def _jpeg(path: Path) -> tuple[bytes, str]:
    image = input_files.read_picture(path).image
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return stream.getvalue(), "image/jpeg"


def _wav(path: Path) -> tuple[bytes, str]:
    return input_files.encode_wav(input_files.read_clip(path)), "audio/wav"


def _markdown() -> Any:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    parser.validateLink = lambda url: url.startswith(("http://", "https://"))  # type: ignore[method-assign]
    return parser


def _caption(file: Attachment) -> str:
    heard = f': "{one_line(file.transcript)}"' if file.transcript else ""
    return f"{one_line(file.name)} ({one_line(file.kind)}, {one_line(file.detail)}){heard}"


def _left_out(conversation: Conversation) -> str:
    """A note on the messages of other branches; "" if there are none."""
    if not (count := len(conversation) - len(conversation.thread)):
        return ""
    what = (
        "1 message of another version is"
        if count == 1
        else f"{count} messages of other versions are"
    )
    return f"{what} left out; a .json export has everything"


def _contained(text: str) -> str:
    return contain(printable(text), {name.lower() for name in (*_SPEAKERS.values(), "system")})
