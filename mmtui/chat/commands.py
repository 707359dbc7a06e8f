"""The commands of the chat, typed after a slash or started by keys and menus."""

import re
from dataclasses import dataclass

from mmtui.errors import UsageError

AS_MESSAGE = "to send it as a message, start it with a space"
ABOUT = f"A line that starts with a slash and a word is a command; {AS_MESSAGE}."
_LINE = re.compile(r"/([\w-]*)(?:\s+(.*))?", re.DOTALL)


@dataclass(frozen=True)
class Command:
    """`argument` is what follows the name: "" if nothing does, in brackets if it may be left out.

    A PATH can be completed. `keys` are those that do it on a screen, which asks for an argument
    that is missing.
    """

    name: str
    argument: str
    help: str
    keys: str = ""

    def check(self, argument: str) -> None:
        """Raises UsageError for an argument that the command does not take."""
        if not argument:
            return
        if not self.argument:
            raise UsageError(f"/{self.name} takes no argument", AS_MESSAGE)
        choices = re.fullmatch(r"\[([a-z|]+)\]", self.argument)
        if choices and argument not in choices[1].split("|"):
            raise UsageError(
                f"/{self.name} takes {choices[1].replace('|', ' or ')}, not {argument}", AS_MESSAGE
            )

    def require(self, argument: str) -> None:
        """Raises UsageError if the command needs an argument and has none."""
        if self.argument and self.argument[0] != "[" and not argument:
            raise UsageError(f"/{self.name} needs a {self.argument.lower()}", self.help)


COMMANDS = (
    Command("help", "", "show keys and commands", "f1"),
    Command("image", "PATH", "attach a picture", "f2,ctrl+o"),
    Command("audio", "PATH", "attach a recording; its first 15 s are transcribed"),
    Command("paste", "", "attach the picture in the clipboard", "f10,alt+v"),
    Command("record", "", "start or finish recording speech", "f4,ctrl+t"),
    Command("transcribe", "", "transcribe the last recording again"),
    Command("microphone", "[NAME]", "choose a microphone"),
    Command("drop", "", "remove all attachments"),
    Command("stop", "", "stop the answer, recording or playback", "escape"),
    Command("retry", "", "regenerate the last answer", "f5,ctrl+r"),
    Command("edit", "TEXT", "edit the last message", "f6"),
    Command("continue", "", "continue a stopped answer", "f7"),
    Command("branch", "", "show the next version of a message", "ctrl+g"),
    Command("copy", "[code|all]", "copy the last answer, its code, or all", "f8"),
    Command("new", "", "start a new conversation", "ctrl+n"),
    Command("history", "[WORDS]", "search conversations", "f3"),
    Command("resume", "NAME", "open a conversation by the first characters of its id"),
    Command("rename", "TEXT", "rename this conversation"),
    Command("export", "PATH", "export this conversation to a .md, .html or .json file"),
    Command("system", "TEXT", "edit the system prompt; - removes it", "f9"),
    Command("model", "[NAME]", "switch to a model: a preset, a folder or hf:OWNER/NAME", "ctrl+l"),
    Command("sampling", "[KEY=VALUE ...]", "set temperature, top_p and max_tokens"),
    Command("theme", "[dark|light]", "switch between the dark and the light theme"),
    Command("quit", "", "quit; the conversation is saved", "ctrl+q"),
)
BY_NAME = {command.name: command for command in COMMANDS}


def parse(text: str) -> tuple[Command, str] | None:
    """The command that a text is, and its argument; None if it is a message.

    A command begins with a slash and a word that has no other slash or dot in it, as paths do.
    A message may begin like that after a space. Raises UsageError for a command that there is
    not, or an argument that it does not take.
    """
    if (found := _LINE.fullmatch(text.rstrip())) is None:
        return None
    name, argument = found[1], (found[2] or "").strip()
    command = BY_NAME.get(name.lower())
    if command is None:
        raise UsageError(f"there is no command /{name}", f"/help lists them; {AS_MESSAGE}")
    command.check(argument)
    if "\n" in text.rstrip():
        raise UsageError(f"/{command.name} takes one line", f"/{command.name} alone asks for more")
    return command, argument
