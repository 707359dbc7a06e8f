"""Waiting for the model of `mmtui serve`, which reports the progress of loading it."""

from mmtui.endpoint.client import Client
from mmtui.endpoint.comments import report_comment
from mmtui.endpoint.exchange import Cancellation
from mmtui.endpoint.patience import Report

_INTERVAL_S = 0.3


def wait_until_loaded(client: Client, cancellation: Cancellation, report: Report) -> None:
    """Wait until the model is loaded, or has failed to load.

    Args:
        client: The client of the server.
        cancellation: Ends the wait.
        report: Called with (step, done, total).

    Raises:
        MmtuiError: The server can't be reached.
        CancelledError: The request was cancelled.
    """
    while True:
        health = client.fetch(f"{client.endpoint.root}/health", cancellation)
        if not isinstance(health, dict) or health.get("status") != "loading":
            return
        step, done, total = (health.get(key) for key in ("step", "done", "total"))
        if isinstance(step, str) and isinstance(done, int) and isinstance(total, int):
            report_comment(f"progress {done}/{total} {step}", report)
        cancellation.sleep(_INTERVAL_S)
