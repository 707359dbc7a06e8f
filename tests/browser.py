"""A page in headless Chromium, driven through Chrome's DevTools protocol."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse

# xterm.js draws on a canvas, so the text is read from textual-serve's terminal object, which this
# script keeps as `window.capturedTerminal`.
CAPTURE_TERMINAL = """
Object.defineProperty(Object.prototype, "terminal", {configurable: true, set(terminal) {
    Object.defineProperty(this, "terminal", {value: terminal, writable: true});
    window.capturedTerminal = terminal;
}});
"""
READ_TERMINAL = """(() => {
    const screen = window.capturedTerminal && window.capturedTerminal.buffer.active, lines = [];
    for (let at = 0; screen && at < screen.length; at++)
        lines.push(screen.getLine(at).translateToString(true));
    return lines.join("\\n");
})()"""


class Page:
    """A page of the browser with a terminal in it."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket, self._numbers, self._session = socket, itertools.count(1), None

    async def open(self, url: str) -> None:
        target = await self._do("Target.createTarget", url="about:blank")
        attached = await self._do("Target.attachToTarget", flatten=True, **target)
        self._session = attached["sessionId"]
        await self._do("Page.enable")
        await self._do("Emulation.setFocusEmulationEnabled", enabled=True)
        await self._do("Page.addScriptToEvaluateOnNewDocument", source=CAPTURE_TERMINAL)
        await self._do("Page.navigate", url=url)

    async def evaluate(self, code: str) -> Any:
        done = await self._do("Runtime.evaluate", expression=code, returnByValue=True)
        return done["result"].get("value")

    async def text(self) -> str:
        """Return the text of the terminal."""
        return await self.evaluate(READ_TERMINAL)

    async def wait_for(self, pattern: str) -> str:
        """Wait until the text of the terminal matches a pattern, and return the text."""
        seen = ""
        try:
            async with asyncio.timeout(120):
                while not re.search(pattern, seen := await self.text()):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{pattern!r} is not shown:\n{seen}") from None
        return seen

    async def wait_until_painted(self) -> None:
        """Wait until anything of the page is visible; until then, browsers ignore the keyboard."""
        async with asyncio.timeout(60):
            while not await self.evaluate("performance.getEntriesByType('paint').length"):
                await asyncio.sleep(0.01)

    async def type(self, text: str) -> None:
        for character in text:
            key = {"\r": "Enter"}.get(character, character)
            code = 13 if character == "\r" else 0
            for kind in ("keyDown", "keyUp"):
                named = {"key": key, "text": character, "windowsVirtualKeyCode": code}
                await self._do("Input.dispatchKeyEvent", type=kind, **named)

    async def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        request = {"id": number, "method": method, "params": parameters}
        if self._session:
            request["sessionId"] = self._session
        await self._socket.send_json(request)
        while (received := await self._socket.receive_json(timeout=60)).get("id") != number:
            pass  # an event
        assert "error" not in received, received
        return received["result"]


@asynccontextmanager
async def browser(program: str, folder: Path) -> AsyncIterator[Page]:
    """Start the browser with a new profile in `folder`, and yield a page."""
    process = await asyncio.create_subprocess_exec(
        program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr
        address = None
        while address is None and (line := await process.stderr.readline()):
            address = re.search(rb"listening on (ws://\S+)", line)
        assert address, f"{program} does not start"
        async with ClientSession() as session, session.ws_connect(address[1].decode()) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        await process.wait()
