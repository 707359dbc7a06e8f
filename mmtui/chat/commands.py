"""The commands: typed after a slash on every kind of screen, and pressed or picked on some."""

import re
from dataclasses import dataclass

from mmtui.errors import UsageError

AS_MESSAGE = "to send it as a message, begin it with a space"
ABOUT = f"A line that begins with a slash and a word is a command; {AS_MESSAGE}."
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
    Command("help", "", "what there is", "f1"),
    Command("image", "PATH", "attach a picture to the next message", "f2,ctrl+o"),
    Command("audio", "PATH", "attach a recording; its first 15 s are heard"),
    Command("paste", "", "attach the picture in the clipboard", "f10,alt+v"),
    Command("record", "", "speak: begin to record, and end it", "f4,ctrl+t"),
    Command("transcribe", "", "hear the last recording again"),
    Command("microphone", "[NAME]", "choose another microphone"),
    Command("drop", "", "take the attachments off again"),
    Command("stop", "", "stop the answer, a recording or a sound; so does Ctrl+C", "escape"),
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
