"""The other end of the processes that use the sound devices; see `device.py`."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from mmtui.errors import MissingError

TIMEOUT_S = 2.0  # for an answer of a device; quitting the app may wait this long


def start_process(*arguments: str, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
    """Start `mmtui.audio.device` with the arguments."""
    command: Sequence[str] = [sys.executable, "-P", "-m", "mmtui.audio.device", *arguments]
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl+C is handled by this process
    )


def list_devices(command: str, timeout_s: float, missing: tuple[str, str]) -> list[str]:
    """Return the names of the devices of this machine.

    Args:
        command: "list" for microphones, "list-outputs" for speakers.
        timeout_s: How long to wait for the sound system.
        missing: The message and the hint of the error if there is no device.

    Raises:
        MissingError: There is no device, or the sound system does not answer.
    """
    with start_process(command) as process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise MissingError("the sound system does not answer", "restart it") from None
    if not (names := parse_message(output)["devices"]):
        raise MissingError(*missing)
    return [str(name) for name in names]


def parse_message(line: bytes) -> dict[str, Any]:
    """Parse a message of the process.

    Raises:
        MissingError: The message is an error, or the process has crashed.
    """
    try:
        message: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise MissingError("the sound system has crashed", "restart it") from error
    if "error" in message:
        raise MissingError(message["error"], message.get("hint"))
    return message
