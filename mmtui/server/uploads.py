"""Bodies of requests, with a limit of their size."""

from collections.abc import AsyncIterator

from aiohttp import BodyPartReader, web
from aiohttp.http import HttpProcessingError

from mmtui.server.errors import ApiError

MAX_BODY_BYTES = 64_000_000


async def read_body(request: web.Request) -> bytes:
    """Return the body of a request.

    Raises:
        ApiError: It is larger than `MAX_BODY_BYTES`, or can't be decompressed.
    """
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise _make_size_error()
    return await _read(request.content.iter_any(), MAX_BODY_BYTES)


async def read_form(request: web.Request) -> dict[str, bytes]:
    """Return the fields of a form of the type multipart/form-data.

    Raises:
        ApiError: The body is something else, or larger than `MAX_BODY_BYTES`.
    """
    if request.content_type != "multipart/form-data":
        raise ApiError("the body must be multipart/form-data")
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise _make_size_error()
    fields: dict[str, bytes] = {}
    left = MAX_BODY_BYTES
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise ApiError("the form must not contain other forms")
            content = await _read(part, left)
            left -= len(content)
            fields[part.name or ""] = content
    except (ValueError, AssertionError, KeyError, HttpProcessingError):
        raise ApiError("the form is malformed") from None
    except web.RequestPayloadError:
        raise _make_decoding_error() from None
    return fields


async def _read(parts: AsyncIterator[bytes], limit: int) -> bytes:
    content = bytearray()
    try:
        async for part in parts:
            content += part
            if len(content) > limit:
                raise _make_size_error()
    except web.RequestPayloadError:
        raise _make_decoding_error() from None
    return bytes(content)


def _make_size_error() -> ApiError:
    limit = MAX_BODY_BYTES // 1_000_000
    message = f"the request has more than {limit} MB, the limit"
    return ApiError(message, status=413, code="request_too_large")


def _make_decoding_error() -> ApiError:
    return ApiError("the body can't be decoded; check its Content-Encoding")
