"""The subprocess with the chat of a web page, which ends when the page is closed."""

import asyncio
import os
import shlex
import signal
from asyncio.subprocess import PIPE, Process

from aiohttp.web import WebSocketResponse
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

END_S = 10.0  # how long a chat may take to keep what there is and to end its model
DRIVER = "mmtui.frontends.tui.web_driver:ChatWebDriver"


class ServedChat(AppService):
    """A chat that starts when a slot is free; until then the page shows a notice."""

    def __init__(
        self,
        command: list[str],
        websocket: WebSocketResponse,
        places: asyncio.Semaphore,
        full: str,
        downloads: DownloadManager,
    ) -> None:
        """Create the chat. `full` is the notice shown while no slot is free."""
        super().__init__(
            shlex.join(command), write_bytes=websocket.send_bytes, write_str=websocket.send_str,
            close=websocket.close, download_manager=downloads,  # type: ignore[arg-type]
        )  # fmt: skip
        self._arguments, self._websocket = command, websocket
        self._places, self._full = places, full
        self._running: asyncio.Task[None] | None = None

    async def start(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._task = asyncio.create_task(self._live())

    async def stop(self) -> None:
        """End the chat, and its process if it has one."""
        if (task := self._task) is not None:
            self._task = None
            (self._running or task).cancel()
            await asyncio.wait([task])

    async def send_bytes(self, data: bytes) -> bool:
        return self._stdin is not None and await super().send_bytes(data)

    async def send_meta(self, data: dict[str, str | int | bool | None]) -> bool:
        return self._stdin is not None and await super().send_meta(data)

    async def set_terminal_size(self, width: int, height: int) -> None:
        self._size = (width, height)
        await super().set_terminal_size(width, height)

    async def _live(self) -> None:
        try:
            if self._places.locked():
                await self.remote_write_bytes(self._full.replace("\n", "\r\n").encode())
            async with self._places:
                process = await self._open_app_process(*self._size)
                self._running = asyncio.create_task(self.run())
                await asyncio.wait([self._running])
                await self._end(process)
        finally:
            await self._websocket.close()

    async def _end(self, process: Process) -> None:
        """Ask the process to end, and kill it if it doesn't."""
        await self._download_manager.cancel_app_downloads(app_service_id=self.app_service_id)
        await self.send_meta({"type": "quit"})
        self.stdin.close()
        assert process.stdout and process.stderr
        # A full pipe would keep the process from ending, and us from seeing that it has.
        rest = asyncio.gather(_read_out(process.stdout), _read_out(process.stderr))
        await asyncio.wait([rest], timeout=END_S)
        if not rest.done():
            os.killpg(process.pid, signal.SIGKILL)  # its model, too
            await rest
        await process.wait()

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        """Apart from the server's terminal, whose Ctrl-C is for the server alone."""
        environment = self._build_environment(width, height) | {"TEXTUAL_DRIVER": DRIVER}
        self._process = process = await asyncio.create_subprocess_exec(
            *self._arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment,
            start_new_session=True,
        )  # fmt: skip
        self._stdin = process.stdin
        return process


async def _read_out(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass
