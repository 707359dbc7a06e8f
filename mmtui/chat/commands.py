"""Slash commands: what can be typed instead of a message, on every kind of screen."""

import re
from dataclasses import dataclass
from typing import Literal

from mmtui.errors import UsageError


@dataclass(frozen=True)
class Command:
    """`argument` is what follows the name, "" if nothing does; a path can be completed."""

    name: str
    argument: Literal["", "PATH", "TEXT", "NAME", "NUMBER", "[PATH]", "[WORDS]", "[code|all]"]
    help: str

    def check(self, argument: str) -> None:
        """Raises UsageError if an argument is missing."""
        if self.argument and self.argument[0] != "[" and not argument:
            raise UsageError(f"/{self.name} needs a {self.argument.lower()}", self.help)


COMMANDS = (
    Command("image", "PATH", "attach a picture to the next message"),
    Command("audio", "PATH", "attach a recording; its first 15 s are heard"),
    Command("record", "", "speak: begin to record, and end it"),
    Command("drop", "", "take the attachments off again"),
    Command("stop", "", "stop the answer that is being written"),
    Command("retry", "", "another answer to the last question"),
    Command("edit", "TEXT", "say the last message differently"),
    Command("continue", "", "let a stopped answer go on"),
    Command("copy", "[code|all]", "copy the last answer, its last code block, or everything"),
    Command("new", "", "begin a new conversation"),
    Command("history", "[WORDS]", "earlier conversations, or those with these words"),
    Command("resume", "NAME", "go on with an earlier conversation, by the beginning of its id"),
    Command("rename", "TEXT", "give this conversation another title"),
    Command("export", "PATH", "write this conversation to a .md, .html or .json file"),
    Command("system", "TEXT", "tell the model about its task; nothing takes it back"),
    Command("model", "NAME", "another model: a preset, a folder or hf:OWNER/NAME"),
    Command("temperature", "NUMBER", "0 takes the likeliest word, 0.7 is lively"),
    Command("help", "", "what there is"),
    Command("quit", "", "leave; everything is kept"),
)
BY_NAME = {command.name: command for command in COMMANDS}


def parse(text: str) -> tuple[Command, str] | None:
    """The command that a message is, and its argument; None if it is none."""
    if not text.startswith("/") or "\n" in text:
        return None
    name, _, argument = text[1:].partition(" ")
    command = BY_NAME.get(name)
    return (command, argument.strip()) if command else None


def is_meant(text: str) -> bool:
    """Whether a message that is no command was to be one: a slash and a word, no path."""
    return re.match(r"/[a-z]+(\s|$)", text) is not None
