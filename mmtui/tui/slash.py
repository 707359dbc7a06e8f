"""Slash commands of the chat on a screen."""

from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.chat import paths
from mmtui.chat.commands import Command
from mmtui.chat.export import write
from mmtui.chat.session import Notice
from mmtui.errors import UsageError

if TYPE_CHECKING:
    from mmtui.tui.screens.chat import ChatScreen


async def run(screen: "ChatScreen", command: Command, argument: str) -> None:  # noqa: PLR0912
    """What can't be done is told."""
    session = screen.session
    try:
        command.check(argument)
    except UsageError as error:
        screen.tell(Notice(str(error), error.hint))
        return
    match command.name:
        case "image" | "audio":
            for path in paths.pasted(argument) or [Path(argument).expanduser()]:
                screen.attach(path)
        case "edit":
            if (question := session.conversation.question) is not None:
                await screen.edit(question, argument)
        case "drop":
            await screen.drop()
        case "copy":
            screen.copy(argument)
        case "history":
            screen.ask_history(argument)
        case "resume":
            await screen.resume(argument)
        case "rename":
            session.rename(argument)
        case "export":
            file = Path(argument).expanduser()
            screen.tried(lambda: write(session.conversation, file, session.file))
            if file.exists():
                screen.tell(Notice(f"written: {file}", is_error=False))
        case "system":
            session.instruct(argument)
        case "model":
            session.switch(argument)
        case "temperature":
            screen.tried(lambda: session.configure(temperature=argument))
        case "quit":
            await screen.app.action_quit()
        case same:  # record, stop, retry, continue, new, help: also keys
            await screen.run_action(same)
    screen.show_status()
