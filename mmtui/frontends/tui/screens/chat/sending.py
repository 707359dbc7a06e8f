"""Send messages one after the other: while an answer is written, the next ones wait in a queue."""

from functools import partial

from mmtui.chat import documents
from mmtui.chat.conversation import Attachment, Draft, Message, join_drafts
from mmtui.chat.session import Session
from mmtui.errors import UsageError
from mmtui.frontends.tui.screens.base import BaseScreen
from mmtui.frontends.tui.screens.chat.staging import Staging
from mmtui.frontends.tui.widgets.chips import Chips
from mmtui.frontends.tui.widgets.composer import Composer
from mmtui.frontends.tui.widgets.message_queue import MessageQueue, QueuedMessage
from mmtui.frontends.tui.widgets.transcript import Transcript


class Sending:
    """Sends what is in the prompt, with its attachments, and the messages of the queue.

    Attributes:
        pending: The text of a message whose files are still being read; "" if there is none.
    """

    def __init__(
        self,
        screen: BaseScreen,
        session: Session,
        staging: Staging,
        composer: Composer,
        chips: Chips,
        queue: MessageQueue,
        transcript: Transcript,
    ) -> None:
        self._screen, self._session, self._staging = screen, session, staging
        self._composer, self._chips = composer, chips
        self._queue, self._transcript = queue, transcript
        self.pending = ""

    @property
    def unsent(self) -> Draft:
        """Everything that is not sent: the queue, then what is typed and attached."""
        waiting = [queued.draft for queued in self._queue.messages]
        typed = Draft(self._composer.unsent, self._chips.attachments)
        return join_drafts([*waiting, Draft(self.pending), typed])

    async def send(self, text: str, files: tuple[Attachment, ...] = ()) -> None:
        """Send a message with the staged attachments and `files`, or put it into the queue.

        Raises:
            UsageError: A file is still being read.
        """
        self._staging.require_ready()
        attached = (*self._chips.attachments, *files)
        if self._session.is_answering:
            self.pending = ""
            await self._chips.clear()
            await self._queue.add(Draft(text, attached))
        elif documents.has_documents(attached):
            self.pending = text
            restore = partial(self._screen.restore_text, text)
            self._staging.send(text, attached, self._send_typed, restore)
        else:
            await self._send_typed(text, attached)

    async def restore(self, draft: Draft) -> None:
        """Put a message back into the prompt, before what was typed since."""
        self._composer.restore(draft.text)
        for attachment in draft.attachments:
            await self._chips.add(attachment)

    # The queue

    async def continue_after(self, reply: Message) -> None:
        """Send the next message of the queue after a reply; hold the queue if the reply failed."""
        if reply.state == "failed":
            self.hold()
        else:
            await self._send_next()

    def hold(self) -> None:
        """Keep the messages of the queue until the user sends them."""
        self._queue.hold()

    async def send_queue(self) -> None:
        """Send the messages of the queue, one after each answer.

        Raises:
            UsageError: No message waits, or an answer is being written.
        """
        if not self._queue.messages:
            raise UsageError("no message waits", "a message waits if it is sent during an answer")
        if not self._queue.is_held:
            self._session.require_idle()
        self._queue.hold(False)
        await self._send_next()

    async def take_back(self, queued: QueuedMessage | None = None) -> None:
        """Put a message of the queue back into the prompt, by default the last one.

        Raises:
            UsageError: No message waits.
        """
        if queued is None:
            if not self._queue.messages:
                raise UsageError("no message waits")
            queued = self._queue.messages[-1]
        if queued.is_attached:  # else it was sent or removed in the meantime
            await self._queue.remove_message(queued)
            await self.restore(queued.draft)
        self._composer.focus()

    async def clear_queue(self) -> None:
        """Remove all messages from the queue."""
        await self._queue.clear()

    async def _send_next(self) -> None:
        waiting = self._queue.messages
        if self._queue.is_held or self._session.is_answering or not waiting:
            return
        queued = waiting[0]
        text, attached = queued.draft.text, queued.draft.attachments
        send = partial(self._send_queued, queued)
        if documents.has_documents(attached):
            self._staging.send(text, attached, send, partial(self._return_unsent, queued))
        else:
            await send(text, attached)

    async def _return_unsent(self, queued: QueuedMessage) -> None:
        """Put a message whose documents could not be sent back, and hold those after it."""
        await self.take_back(queued)
        self.hold()

    # Implementation

    async def _send_typed(self, text: str, files: tuple[Attachment, ...]) -> bool:
        self._session.send(text, files)
        self.pending = ""
        await self._chips.clear()
        await self._show_sent()
        return True

    async def _send_queued(
        self, queued: QueuedMessage, text: str, files: tuple[Attachment, ...]
    ) -> bool:
        if queued.is_attached:  # else it was taken back or removed in the meantime
            staged = self._chips.attachments
            self._session.send(text, files)
            self._session.prepare_attachments(staged)
            await self._queue.remove_message(queued)
            await self._show_sent()
        return True

    async def _show_sent(self) -> None:
        await self._session.store.wait_until_written()
        await self._transcript.add(*self._session.conversation.thread[-2:])
