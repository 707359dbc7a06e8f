"""Errors of the API, in the form of OpenAI's."""

from aiohttp import web

TOO_LONG = "context_length_exceeded"
RETRY_AFTER_S = 5


class ApiError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: The HTTP status.
        kind: The "type" of the error.
        code: What went wrong, for programs.
        param: The field of the request that is wrong.
        headers: Additional headers of the response.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.code, self.param = status, kind, code, param
        self.headers = headers or {}

    def to_document(self) -> dict[str, dict[str, str | None]]:
        """Return the JSON document of the error."""
        fields = {"type": self.kind, "param": self.param, "code": self.code}
        return {"error": {"message": str(self), **fields}}

    def to_response(self) -> web.Response:
        """Return the response."""
        return web.json_response(self.to_document(), status=self.status, headers=self.headers)


def shorten(text: str, limit: int = 100) -> str:
    """Return the start of a text that a client sent, for an error that quotes it."""
    return text if len(text) <= limit else f"{text[:limit]}..."


def make_server_error(message: str) -> ApiError:
    """Return the error of a request that failed through no fault of the client."""
    return ApiError(message, status=500, kind="server_error")


def make_queue_error(limit: int) -> ApiError:
    """Return the error of a request that comes while as many wait as the limit allows."""
    return ApiError(
        f"{limit} requests are waiting, which is the limit",
        status=429,
        kind="rate_limit_error",
        code="queue_full",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


def from_http_error(error: web.HTTPException) -> ApiError:
    """Return the error for a path or a method that does not exist, or a malformed request."""
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    return ApiError(error.reason, status=error.status, headers=headers)
