"""Requests to a server, with its faults as errors of one line."""

import http.client
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mmtui.endpoint import faults
from mmtui.endpoint.address import Endpoint
from mmtui.endpoint.comments import report_comment
from mmtui.endpoint.completion import Completion, Part, Request, Response
from mmtui.endpoint.events import MAX_EVENT_BYTES, TooLargeError, read_events
from mmtui.endpoint.exchange import Cancellation, CancelledError, Exchange, Form
from mmtui.endpoint.patience import Patience, Report
from mmtui.errors import MmtuiError

MAX_DOCUMENT_BYTES = 16_000_000
MAX_ERROR_BYTES = 100_000
LOOKUP_TIMEOUT_S = 10.0  # for what a server can do, which it knows at once
_FINAL_TIMEOUT_S = 10.0  # for the usage, after the end of a reply
_NO_MODEL = re.compile(rb"model_not_found|model\b.{0,80}\bnot (found|exist|loaded)", re.DOTALL)


class Client:
    """Sends requests to one server. Each has a connection of its own, so any thread may send."""

    def __init__(self, endpoint: Endpoint, report: Report = lambda *_: None) -> None:
        """Create a client, which connects with each request.

        Args:
            endpoint: The server.
            report: Called with (step, seconds waited, seconds in all) while the server is busy.
        """
        self.endpoint, self._report = endpoint, report

    def fetch(
        self,
        path: str,
        cancellation: Cancellation,
        body: dict[str, object] | Form | None = None,
        *,
        waits: bool = False,
    ) -> object:
        """Return the JSON document at a path.

        Args:
            path: The path.
            cancellation: Closes the connection.
            body: Sent in a POST request, as JSON or as a form; None sends a GET request. The
                server may take longer for a form, which contains a recording.
            waits: Whether to wait for a busy server.

        Raises:
            MmtuiError: The server can't be reached, refuses, or does not return JSON.
            CancelledError: The request was cancelled.
        """
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        timeout_s = self.endpoint.timeout_s
        if not isinstance(body, Form):
            timeout_s = min(LOOKUP_TIMEOUT_S, timeout_s)
        patience = Patience(self.endpoint, cancellation, self._report)
        while True:
            with self._send(path, data, cancellation, timeout_s) as (exchange, response):
                content = _read_body(exchange, MAX_DOCUMENT_BYTES)
            if response.status == 200:
                return self._parse(content)
            if not (waits and patience.wait(response, content)):
                raise self._explain_status(response, content)

    def list_models(self, cancellation: Cancellation) -> list[dict[str, object]]:
        """Return the entries of /v1/models, each with its "id".

        Raises:
            MmtuiError: The server can't be reached, or has no such list.
            CancelledError: The request was cancelled.
        """
        document = self.fetch(f"{self.endpoint.path}/models", cancellation, waits=True)
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
        *,
        continue_message: bool = False,
        outputs: tuple[str, ...] = (),
    ) -> Iterator[Part | Completion]:
        """Stream the reply to a conversation.

        Args:
            model: The name of the model.
            request: The conversation.
            cancellation: Closes the connection.
            continue_message: Ask vLLM to continue a last turn of the assistant.
            outputs: What the model writes beside text, "image" or "audio", and is asked for.

        Yields:
            Pieces of the reply with its pictures and its sound, then its Completion, also after a
            cancellation.

        Raises:
            MmtuiError: The request failed. What was yielded before stays valid.
        """
        body = request.encode(model, continue_message=continue_message, outputs=outputs)
        try:
            yield from self._complete(model, request, body, cancellation)
        except CancelledError:
            yield Completion("cancelled")

    def _complete(
        self, model: str, request: Request, body: bytes, cancellation: Cancellation
    ) -> Iterator[Part | Completion]:
        started = time.monotonic()
        path = f"{self.endpoint.path}/chat/completions"
        patience = Patience(self.endpoint, cancellation, self._report)
        while True:
            timeout_s = self.endpoint.timeout_s
            with self._send(path, body, cancellation, timeout_s) as (exchange, response):
                if response.status == 200:
                    yield from self._stream(exchange, response, request, started)
                    return
                content = _read_body(exchange, MAX_ERROR_BYTES)
            if not patience.wait(response, content):
                raise self._explain_refusal(response, content, model, cancellation)

    @contextmanager
    def _send(
        self, path: str, body: bytes | Form | None, cancellation: Cancellation, timeout_s: float
    ) -> Iterator[tuple[Exchange, http.client.HTTPResponse]]:
        """Send a request, and read its response in the context; faults become MmtuiError."""
        exchange = Exchange(self.endpoint, cancellation, timeout_s)
        form = Form("application/json", body) if isinstance(body, bytes) else body
        try:
            if form is None:
                yield exchange, exchange.send("GET", path)
            else:
                yield exchange, exchange.send("POST", path, form.content, form.content_type)
        except (OSError, http.client.HTTPException) as error:
            sent = len(form.content) if form else 0
            raise faults.explain_connection(self.endpoint, error, timeout_s, sent) from error
        except TooLargeError as error:
            raise faults.explain_garbage(self.endpoint) from error
        finally:
            exchange.close()

    def _stream(
        self,
        exchange: Exchange,
        response: http.client.HTTPResponse,
        request: Request,
        started: float,
    ) -> Iterator[Part | Completion]:
        collected = Response(started)
        content_type = response.headers.get_content_type()
        if content_type == "application/json":  # the server does not stream
            document = self._parse(_read_body(exchange, MAX_EVENT_BYTES))
            yield from self._add(collected, document)
            yield from collected.flush()
            if not collected.has_ended:
                raise faults.explain_garbage(self.endpoint)
            yield collected.finish()
            return
        if content_type not in ("text/event-stream", "text/plain"):
            raise faults.explain_garbage(self.endpoint, content_type)

        def read() -> bytes:
            part = exchange.read()
            if time.monotonic() - collected.last_progress_at > self.endpoint.timeout_s:
                raise TimeoutError  # there are signs of life, but no text
            return part

        def handle_comment(comment: str) -> None:
            if report_comment(comment, self._report):
                collected.touch()  # a request that waits in a queue is alive

        try:
            for data in read_events(read, handle_comment):
                if data.strip() == "[DONE]":
                    collected.has_ended = True
                    break
                yield from self._add(collected, self._parse(data.encode("utf-8", "replace")))
                if collected.has_ended:
                    exchange.set_timeout(_FINAL_TIMEOUT_S)
                if collected.characters > request.max_characters:
                    yield from collected.flush()
                    yield collected.finish("length")
                    return
        except CancelledError:
            yield from collected.flush()
            yield collected.finish("cancelled")
            return
        except (OSError, http.client.HTTPException):
            if not collected.has_ended:
                yield from collected.flush()
                raise
        except (MmtuiError, TooLargeError):
            yield from collected.flush()
            raise
        yield from collected.flush()
        if not collected.has_ended:
            raise http.client.IncompleteRead(b"")
        yield collected.finish()

    def _add(self, collected: Response, document: object) -> list[Part]:
        if not isinstance(document, dict):
            raise faults.explain_garbage(self.endpoint)
        if document.get("error"):
            words = faults.quote(self.endpoint.redact(faults.find_words(document)))
            if faults.is_about_context(words):
                raise faults.explain_long_context(self.endpoint, words)
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
