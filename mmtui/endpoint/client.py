"""Requests to a server, with its faults as errors of one line."""

import email.utils
import http.client
import itertools
import json
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmtui.endpoint import faults
from mmtui.endpoint.address import Endpoint
from mmtui.endpoint.completion import Completion, Delta, Request, Response
from mmtui.endpoint.events import TooLargeError, read_events
from mmtui.endpoint.exchange import Cancellation, CancelledError, Exchange
from mmtui.errors import MmtuiError

if TYPE_CHECKING:
    from mmtui.pipeline.assets.fetch import Report

MAX_DOCUMENT_BYTES = 16_000_000
MAX_ERROR_BYTES = 100_000
MAX_WAIT_S = 120.0  # for a busy server, in all
LOOKUP_TIMEOUT_S = 10.0  # for what a server can do, which it knows at once
MAX_ATTEMPTS = 20
_FINAL_TIMEOUT_S = 10.0  # for the usage, after the end of a reply
_NO_MODEL = re.compile(rb"model_not_found|model\b.{0,80}\bnot (found|exist|loaded)", re.DOTALL)


class Client:
    """Sends requests to one server. Each has a connection of its own, so any thread may send."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def fetch(
        self, path: str, cancellation: Cancellation, body: dict[str, object] | None = None
    ) -> object:
        """Return the JSON document at a path; a POST request if there is a body.

        Raises:
            MmtuiError: The server can't be reached, refuses, or does not return JSON.
            CancelledError: The request was cancelled.
        """
        data = None if body is None else json.dumps(body).encode()
        exchange = Exchange(self.endpoint, cancellation, LOOKUP_TIMEOUT_S)
        try:
            response = exchange.send("GET" if data is None else "POST", path, data)
            content = _read_body(exchange, MAX_DOCUMENT_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise faults.explain_connection(self.endpoint, error) from error
        except TooLargeError as error:
            raise faults.explain_garbage(self.endpoint) from error
        finally:
            exchange.close()
        if response.status != 200:
            raise self._explain_status(response, content)
        return self._parse(content)

    def list_models(self, cancellation: Cancellation) -> list[dict[str, object]]:
        """Return the entries of /v1/models, each with its "id".

        Raises:
            MmtuiError: The server can't be reached, or has no such list.
            CancelledError: The request was cancelled.
        """
        document = self.fetch(f"{self.endpoint.path}/models", cancellation)
        entries = document.get("data") if isinstance(document, dict) else None
        if not isinstance(entries, list):
            raise faults.explain_garbage(self.endpoint)
        return [
            entry
            for entry in entries
            if isinstance(entry, dict) and isinstance(entry.get("id"), str)
        ]

    def complete(
        self,
        model: str,
        request: Request,
        cancellation: Cancellation,
        report: "Report",
        *,
        continue_message: bool = False,
    ) -> Iterator[Delta | Completion]:
        """Stream the reply to a conversation.

        Args:
            model: The name of the model.
            request: The conversation.
            cancellation: Closes the connection.
            report: Called with (step, seconds waited, seconds in all) while the server is busy.
            continue_message: Ask vLLM to continue a last turn of the assistant.

        Yields:
            Pieces of the reply, then its Completion, also after a cancellation.

        Raises:
            MmtuiError: The request failed. What was yielded before stays valid.
        """
        try:
            yield from self._complete(model, request, cancellation, report, continue_message)
        except CancelledError:
            yield Completion("cancelled")

    def _complete(
        self,
        model: str,
        request: Request,
        cancellation: Cancellation,
        report: "Report",
        continue_message: bool,
    ) -> Iterator[Delta | Completion]:
        started, waited = time.monotonic(), 0.0
        body = request.encode(model, continue_message=continue_message)
        for attempt in itertools.count(1):
            exchange = Exchange(self.endpoint, cancellation, self.endpoint.timeout_s)
            try:
                response = exchange.send("POST", f"{self.endpoint.path}/chat/completions", body)
                if response.status == 200:
                    yield from self._stream(exchange, response, request, started)
                    return
                content = _read_body(exchange, MAX_ERROR_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise faults.explain_connection(self.endpoint, error, len(body)) from error
            except TooLargeError as error:
                raise faults.explain_garbage(self.endpoint) from error
            finally:
                exchange.close()
            pause = _get_pause(response, content, attempt)
            if pause is None:
                raise self._explain_refusal(response, content, model, cancellation)
            if waited + pause > MAX_WAIT_S or attempt == MAX_ATTEMPTS:
                raise faults.explain_busy(self.endpoint, content, pause)
            _wait(pause, cancellation, report)
            waited += pause

    def _stream(
        self,
        exchange: Exchange,
        response: http.client.HTTPResponse,
        request: Request,
        started: float,
    ) -> Iterator[Delta | Completion]:
        collected = Response(started)
        content_type = response.headers.get_content_type()
        if content_type == "application/json":  # the server does not stream
            document = self._parse(_read_body(exchange, MAX_DOCUMENT_BYTES))
            yield from self._add(collected, document)
            yield collected.finish()
            return
        if content_type not in ("text/event-stream", "text/plain"):
            raise faults.explain_garbage(self.endpoint, content_type)

        def read() -> bytes:
            part = exchange.read()
            if time.monotonic() - collected.updated > self.endpoint.timeout_s:
                raise TimeoutError  # there are signs of life, but no text
            return part

        try:
            for data in read_events(read):
                if data.strip() == "[DONE]":
                    collected.has_ended = True
                    break
                yield from self._add(collected, self._parse(data.encode("utf-8", "replace")))
                if collected.has_ended:
                    exchange.set_timeout(_FINAL_TIMEOUT_S)
                if collected.characters > request.max_characters:
                    yield collected.finish("length")
                    return
        except CancelledError:
            yield collected.finish("cancelled")
            return
        except (OSError, http.client.HTTPException):
            if not collected.has_ended:
                raise
        if not collected.has_ended:
            raise http.client.IncompleteRead(b"")
        yield collected.finish()

    def _add(self, collected: Response, document: object) -> list[Delta]:
        if not isinstance(document, dict):
            raise faults.explain_garbage(self.endpoint)
        if document.get("error"):
            words = self.endpoint.redact(faults.quote(faults.find_words(document)))
            raise MmtuiError(
                f"{self.endpoint.location} failed: {words or 'no reason is given'}",
                "the log of the server may say why",
            )
        return collected.add(document)

    def _parse(self, content: bytes) -> object:
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise faults.explain_garbage(self.endpoint) from error

    def _explain_refusal(
        self,
        response: http.client.HTTPResponse,
        content: bytes,
        model: str,
        cancellation: Cancellation,
    ) -> MmtuiError:
        """Return the error for a refused request; of a missing model, with those that are there."""
        if response.status == 404 or _NO_MODEL.search(content):
            try:
                names = [str(entry["id"]) for entry in self.list_models(cancellation)]
            except MmtuiError:
                names = []
            if names and model not in names:
                return faults.explain_missing_model(self.endpoint, model, names)
            if names:
                return faults.explain_refusal(self.endpoint, response.status, content)
        return self._explain_status(response, content)

    def _explain_status(self, response: http.client.HTTPResponse, content: bytes) -> MmtuiError:
        target = response.headers.get("Location")
        return faults.explain_status(self.endpoint, response.status, content, target)


def _read_body(exchange: Exchange, limit: int) -> bytes:
    parts, size = [], 0
    while part := exchange.read():
        parts.append(part)
        size += len(part)
        if size > limit:
            raise TooLargeError
    return b"".join(parts)


def _get_pause(response: http.client.HTTPResponse, content: bytes, attempt: int) -> float | None:
    """Return the seconds to wait before another attempt; None if that makes no sense."""
    if response.status not in (429, 503) or b"insufficient_quota" in content:
        return None
    value = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return min(2.0 ** (attempt - 1), 30.0)


def _wait(seconds: float, cancellation: Cancellation, report: "Report") -> None:
    """Wait for a busy server, and report each second."""
    total = round(seconds)
    step = f"the server is busy, waiting {total} s"
    for second in range(total):
        report(step, second, total)
        cancellation.sleep(1.0)
    cancellation.sleep(max(0.0, seconds - total))
    report(step, 1, 1)
