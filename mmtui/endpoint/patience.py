"""Waiting for a server that is busy or still loads its model."""

import email.utils
import http.client
import re
import time
from collections.abc import Callable

from mmtui.endpoint import faults
from mmtui.endpoint.address import Endpoint
from mmtui.endpoint.exchange import Cancellation

MAX_WAIT_S = 120.0  # in all
MAX_ATTEMPTS = 20
_MAX_PAUSE_S = 30.0  # where the server does not name one

Report = Callable[[str, int, int], None]


class Patience:
    """The waits of one request, which are limited in number and time."""

    def __init__(self, endpoint: Endpoint, cancellation: Cancellation, report: Report) -> None:
        """Start with a request that has not been sent yet.

        Args:
            endpoint: The server.
            cancellation: Ends a wait.
            report: Called each second with (step, seconds waited, seconds in all).
        """
        self._endpoint, self._cancellation, self._report = endpoint, cancellation, report
        self._attempts, self._waited = 0, 0.0

    def wait(self, response: http.client.HTTPResponse, content: bytes) -> bool:
        """Wait as long as a busy server asks for, and return whether to send the request again.

        Args:
            response: The response to the request.
            content: Its body.

        Raises:
            MmtuiError: The server asks for a wait that is too long.
            CancelledError: The request was cancelled.
        """
        if response.status not in (429, 503) or b"insufficient_quota" in content:
            return False
        self._attempts += 1
        pause = _get_pause(response.headers.get("Retry-After", ""), self._attempts)
        if self._waited + pause > MAX_WAIT_S or self._attempts == MAX_ATTEMPTS:
            raise faults.explain_busy(self._endpoint, content, pause)
        self._waited += pause
        self._sleep(pause)
        return True

    def _sleep(self, seconds: float) -> None:
        total = round(seconds)
        step = f"the server is busy, waiting {total} s"
        for second in range(total):
            self._report(step, second, total)
            self._cancellation.sleep(1.0)
        self._cancellation.sleep(max(0.0, seconds - total))
        self._report(step, 1, 1)


def _get_pause(retry_after: str, attempt: int) -> float:
    """Return the seconds that a header names, as a number or a date, or twice those before."""
    if re.fullmatch(r"\d{1,9}(\.\d+)?", retry_after.strip()):
        return float(retry_after)
    try:
        date = email.utils.parsedate_to_datetime(retry_after)
        return max(0.0, date.timestamp() - time.time())
    except (ValueError, OverflowError):
        return min(2.0 ** (attempt - 1), _MAX_PAUSE_S)
