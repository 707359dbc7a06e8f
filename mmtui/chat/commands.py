"""The commands: typed after a slash on every kind of screen, and pressed or picked on some."""

import re
from dataclasses import dataclass

from mmtui.errors import UsageError


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
        """Raises UsageError if an argument is missing."""
        if self.argument and self.argument[0] != "[" and not argument:
            raise UsageError(f"/{self.name} needs a {self.argument.lower()}", self.help)


COMMANDS = (
    Command("help", "", "what there is", "f1"),
    Command("image", "PATH", "attach a picture to the next message", "f2,ctrl+o"),
    Command("audio", "PATH", "attach a recording; its first 15 s are heard"),
    Command("paste", "", "attach the picture in the clipboard", "f10,alt+v"),
    Command("record", "", "speak: begin to record, and end it", "f4,ctrl+t"),
    Command("transcribe", "", "hear the last recording again"),
    Command("microphone", "[NAME]", "choose another microphone"),
    Command("drop", "", "take the attachments off again"),
    Command("stop", "", "stop the answer, a recording or a sound", "escape"),
    Command("retry", "", "another answer to the last question", "f5,ctrl+r"),
    Command("edit", "TEXT", "say the last message differently", "f6"),
    Command("continue", "", "let a stopped answer go on", "f7"),
    Command("branch", "", "the next version of what was edited or answered again", "ctrl+g"),
    Command("copy", "[code|all]", "copy the last answer, its last code block, or all", "f8"),
    Command("new", "", "begin a new conversation", "ctrl+n"),
    Command("history", "[WORDS]", "earlier conversations, or those with these words", "f3"),
    Command("resume", "NAME", "go on with an earlier one, by the beginning of its id"),
    Command("rename", "TEXT", "give this conversation another title"),
    Command("export", "PATH", "write this conversation to a .md, .html or .json file"),
    Command("system", "TEXT", "tell the model about its task; - takes it back", "f9"),
    Command("model", "[NAME]", "another model: a preset, a folder or hf:OWNER/NAME", "ctrl+l"),
    Command("sampling", "[KEY=VALUE ...]", "temperature, top_p and max_tokens of the answers"),
    Command("theme", "[dark|light]", "how the screen looks"),
    Command("quit", "", "leave; everything is kept", "ctrl+q"),
)
BY_NAME = {command.name: command for command in COMMANDS}


def parse(text: str) -> tuple[Command, str] | None:
    """The command that a message is, and its argument; None if it is none."""
    if not text.startswith("/") or "\n" in text:
        return None
    name, _, argument = text[1:].partition(" ")
    command = BY_NAME.get(name)
    return (command, argument.strip()) if command else None


def refuse_meant(text: str) -> None:
    """Raises UsageError for a message that was to be a command: a slash and a word, no path."""
    if (found := re.match(r"/([a-z]+)(\s|$)", text)) is None:
        return
    name = found[1]
    if name in BY_NAME:
        raise UsageError(f"/{name} takes one line", f"/{name} alone asks for more")
    raise UsageError(f"there is no command /{name}", "/help tells what there is")
