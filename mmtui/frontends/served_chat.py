"""The subprocess with the chat of a web page, which ends when the page is closed."""

import asyncio
import json
import os
import signal

from aiohttp.web import WebSocketResponse
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

from mmtui.frontends.page_process import SCREEN_VARIABLES, PageProcess, PageStarter
from mmtui.frontends.page_script import TITLE

EXIT_TIMEOUT_S = 10.0  # for a chat to save the conversation and end its model
MAX_EARLY_BYTES = 16_384  # of input, less than a pipe holds
MAX_SIZE = 1000  # of a terminal, in characters


class ServedChat(AppService):
    """A chat that starts when a slot is free; until then the page shows a notice."""

    def __init__(
        self,
        starter: PageStarter,
        environment: dict[str, str],
        websocket: WebSocketResponse,
        slots: asyncio.Semaphore,
        full_notice: str,
        downloads: DownloadManager,
    ) -> None:
        """Create the chat.

        Args:
            starter: Starts the process.
            environment: Additional environment variables of the chat.
            websocket: The connection to the page.
            slots: Limits how many chats run at once.
            full_notice: What the page shows while no slot is free.
            downloads: The files that the page downloads.
        """
        super().__init__(
            "", write_bytes=websocket.send_bytes, write_str=websocket.send_str,
            close=websocket.close, download_manager=downloads,  # type: ignore[arg-type]
        )  # fmt: skip
        self._starter, self._websocket = starter, websocket
        self._added_environment = environment
        self._slots, self._full_notice = slots, full_notice
        self._running: asyncio.Task[None] | None = None
        self._early = bytearray()  # input, until the process has started

    async def start(self, width: int, height: int) -> None:
        """Start the chat, as soon as a slot is free, in a terminal of this size."""
        self._size = (width, height)
        self._task = asyncio.create_task(self._run_in_slot())

    async def stop(self) -> None:
        """End the chat, and its process if it has one."""
        if (task := self._task) is not None:
            self._task = None
            (self._running or task).cancel()
            await asyncio.wait([task])

    async def send_bytes(self, data: bytes) -> bool:
        """Send input to the process, or keep it until the process has started."""
        if self._stdin is not None:
            return await super().send_bytes(data)
        is_kept = len(self._early) + len(data) <= MAX_EARLY_BYTES
        if is_kept:
            self._early += data
        return is_kept

    async def send_meta(self, data: dict[str, str | int | bool | None]) -> bool:
        return self._stdin is not None and await super().send_meta(data)

    async def on_meta(self, data: bytes) -> None:
        """Handle a packet of the process, such as the title of the page."""
        packet = json.loads(data)
        if packet["type"] == TITLE:
            await self.remote_write_str(json.dumps([TITLE, packet["title"]]))
        else:
            await super().on_meta(data)

    async def set_terminal_size(self, width: object, height: object) -> None:
        """Resize the terminal of the chat, to the size that a page requests."""
        if isinstance(width, int) and isinstance(height, int):
            self._size = (limit_size(width), limit_size(height))
            await super().set_terminal_size(*self._size)

    async def _run_in_slot(self) -> None:
        """Wait for a slot, and run the chat in it."""
        try:
            if self._slots.locked():
                await self.remote_write_bytes(self._full_notice.replace("\n", "\r\n").encode())
            async with self._slots:
                process = await self._open_app_process(*self._size)
                self._running = asyncio.create_task(self.run())
                await asyncio.wait([self._running])
                await self._end_process(process)
        finally:
            await self._websocket.close()

    async def _end_process(self, process: PageProcess) -> None:
        """Ask the process to exit; kill it after a timeout."""
        await self._download_manager.cancel_app_downloads(app_service_id=self.app_service_id)
        await self.send_meta({"type": "quit"})
        self.stdin.close()
        assert process.stdout and process.stderr
        # The process could not exit while a pipe is full.
        drained = asyncio.gather(_drain(process.stdout), _drain(process.stderr))
        await asyncio.wait([drained], timeout=EXIT_TIMEOUT_S)
        if not drained.done():
            os.killpg(process.pid, signal.SIGKILL)  # kills the model's process, too
            await drained
        await process.wait()

    async def _open_app_process(  # type: ignore[override]
        self, width: int = 80, height: int = 24
    ) -> PageProcess:
        """Start the process with a terminal of this size."""
        environment = self._build_environment(width, height) | self._added_environment
        process = await self._starter.start(environment | SCREEN_VARIABLES)
        self._process = process  # type: ignore[assignment]
        self._stdin = process.stdin
        if self._early:
            await self.send_bytes(bytes(self._early))
        return process


def limit_size(size: int) -> int:
    """Return the width or height of a terminal that is nearest to the requested one."""
    return min(max(size, 1), MAX_SIZE)


async def _drain(stream: asyncio.StreamReader) -> None:
    """Read and discard a stream to its end."""
    while await stream.read(65536):
        pass
