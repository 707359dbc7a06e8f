"""Transcripts by a server: https://platform.openai.com/docs/api-reference/audio."""

import secrets

from mmtui.endpoint import faults
from mmtui.endpoint.client import Client
from mmtui.endpoint.exchange import Cancellation, Form


def transcribe(client: Client, model: str, recording: bytes, cancellation: Cancellation) -> str:
    """Return the transcript of a recording.

    Args:
        client: The client of the server.
        model: The name of the model.
        recording: A WAV file.
        cancellation: Closes the connection.

    Raises:
        MmtuiError: The server can't be reached, or refuses.
        CancelledError: The request was cancelled.
    """
    form = _encode({"model": model.encode(), "file": recording})
    path = f"{client.endpoint.path}/audio/transcriptions"
    document = client.fetch(path, cancellation, form, waits=True)
    text = document.get("text") if isinstance(document, dict) else None
    if not isinstance(text, str):
        raise faults.explain_garbage(client.endpoint)
    return text


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
