"""Pictures and sounds as the models of servers return them."""

import base64
import io
import wave

import numpy as np
from PIL import Image
from scripted_server import DONE, USAGE, Step, send, to_event, to_part

RATE = 24_000


def make_picture(color: str = "orange", format_: str = "PNG") -> bytes:
    """Return a picture of 40 x 30 pixels, which is not too small for a real one."""
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    stream = io.BytesIO()
    blended = Image.blend(Image.fromarray(noise), Image.new("RGB", (40, 30), color), 0.5)
    blended.save(stream, format_)
    return stream.getvalue()


def make_samples(seconds: float = 1.0) -> bytes:
    """Return a tone as mono 16-bit samples at `RATE`."""
    tone = np.sin(np.arange(int(seconds * RATE)) / 10) * 20_000
    return tone.astype("<i2").tobytes()


def make_wav(samples: bytes) -> bytes:
    """Return a WAV file."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(samples)
    return stream.getvalue()


def encode(data: bytes) -> str:
    """Return bytes in base64."""
    return base64.b64encode(data).decode()


def to_uri(data: bytes, media_type: str = "image/png") -> str:
    """Return bytes as a data URI."""
    return f"data:{media_type};base64,{encode(data)}"


def to_delta(**delta: object) -> bytes:
    """Return a part of a stream."""
    return to_event({"choices": [{"index": 0, "delta": delta}]})


def to_image(uri: str) -> dict[str, object]:
    """Return a picture as OpenRouter sends it."""
    return {"type": "image_url", "image_url": {"url": uri}}


def stream(*parts: bytes) -> Step:
    """Stream a reply of parts, with its end."""
    return send(*parts, to_part(finish_reason="stop"), USAGE, DONE)


def reply_with_picture(text: str = "Here it is.", data: bytes | None = None) -> Step:
    """Stream a reply with a picture."""
    picture = to_image(to_uri(make_picture() if data is None else data))
    return stream(to_part(text), to_delta(images=[picture]))


def reply_with_sound(*words: str, samples: bytes | None = None) -> Step:
    """Stream a reply as OpenAI's audio models do: pieces of a transcript and of samples."""
    data = make_samples() if samples is None else samples
    half = len(data) // 4 * 2
    return stream(
        *(to_delta(audio={"transcript": word}) for word in words),
        to_delta(audio={"id": "a", "data": encode(data[:half])}),
        to_delta(audio={"data": encode(data[half:])}),
        to_delta(audio={"expires_at": 1}),
    )
