"""Transcripts by a server: https://platform.openai.com/docs/api-reference/audio."""

import secrets
from dataclasses import dataclass

from mmtui.endpoint import faults
from mmtui.endpoint.client import Client
from mmtui.endpoint.exchange import Cancellation, Form
from mmtui.pipeline.speech.languages import find_code


@dataclass(frozen=True)
class ServerTranscript:
    """The transcript of a recording.

    Attributes:
        text: The words; "" if nobody speaks.
        language: Code of the spoken language; None if the server does not report it.
        notes: Notes for the user, which only `mmtui serve` sends.
    """

    text: str
    language: str | None = None
    notes: tuple[str, ...] = ()


def transcribe(
    client: Client,
    model: str,
    recording: bytes,
    language: str | None,
    cancellation: Cancellation,
) -> ServerTranscript:
    """Return the transcript of a recording.

    Args:
        client: The client of the server.
        model: The name of the model.
        recording: A WAV file.
        language: Code of the spoken language; None leaves it to the server.
        cancellation: Closes the connection.

    Raises:
        MmtuiError: The server can't be reached, or refuses.
        CancelledError: The request was cancelled.
    """
    fields = {"model": model.encode(), "file": recording}
    if language is not None:
        fields["language"] = language.encode()
    form = _encode(fields)
    path = f"{client.endpoint.path}/audio/transcriptions"
    document = client.fetch(path, cancellation, form, waits=True)
    text = document.get("text") if isinstance(document, dict) else None
    if not isinstance(text, str):
        raise faults.explain_garbage(client.endpoint)
    assert isinstance(document, dict)
    reported, notes = document.get("language"), document.get("notes")
    return ServerTranscript(
        text,
        find_code(reported) if isinstance(reported, str) else language,
        tuple(map(str, notes)) if isinstance(notes, list) else (),
    )


def _encode(fields: dict[str, bytes]) -> Form:
    """Encode a form (RFC 7578); the field "file" is a WAV file."""
    boundary = secrets.token_hex(16)
    lines: list[bytes] = []
    for name, content in fields.items():
        file = '; filename="recording.wav"' if name == "file" else ""
        lines += [f"--{boundary}".encode()]
        lines += [f'Content-Disposition: form-data; name="{name}"{file}'.encode()]
        lines += [b"", content]
    lines += [f"--{boundary}--".encode(), b""]
    return Form(f"multipart/form-data; boundary={boundary}", b"\r\n".join(lines))
