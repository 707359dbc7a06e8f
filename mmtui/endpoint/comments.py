"""Comments in the streams of `mmtui serve`, which report what a request waits for."""

import re

from mmtui.endpoint.patience import Report

_QUEUE = re.compile(r"queue (\d{1,6})")
_PROGRESS = re.compile(r"progress (\d{1,18})/(\d{1,18}) ([\w .,-]{1,80})")


def report_comment(comment: str, report: Report) -> bool:
    """Report what a comment in a stream says; return whether it is one of `mmtui serve`."""
    if queue := _QUEUE.fullmatch(comment):
        place = int(queue[1])
        report(f"place {place} in the server's queue", 0 if place else 1, 0 if place else 1)
        return True
    if progress := _PROGRESS.fullmatch(comment):
        report(progress[3], int(progress[1]), int(progress[2]))
        return True
    return False
