"""The commands of the chat, which are typed after a slash or run by keys and the palette."""

import re
from dataclasses import dataclass

from mmtui.errors import UsageError

ESCAPE_HINT = "to send it as a message, start it with a space"
ABOUT = f"A line that starts with a slash and a word is a command; {ESCAPE_HINT}."
_LINE = re.compile(r"/([\w-]*)(?:\s+(.*))?", re.DOTALL)


@dataclass(frozen=True)
class Command:
    """A command of the chat.

    Attributes:
        name: Its name, without the slash.
        argument: What follows the name, as help shows it: in brackets if it is optional, "" if the
            command takes no argument. A PATH is completed while it is typed.
        help: What it does.
        keys: The keys that run it in the terminal interface, in Textual's names. If the command
            needs an argument, a dialog asks for it.
    """

    name: str
    argument: str
    help: str
    keys: str = ""

    def check_argument(self, argument: str) -> None:
        """Raise UsageError if the command does not take this argument."""
        if not argument:
            return
        if not self.argument:
            raise UsageError(f"/{self.name} takes no argument", ESCAPE_HINT)
        choices = re.fullmatch(r"\[([a-z|]+)\]", self.argument)
        if choices and argument not in choices[1].split("|"):
            raise UsageError(
                f"/{self.name} takes {choices[1].replace('|', ' or ')}, not {argument}", ESCAPE_HINT
            )

    def require_argument(self, argument: str) -> None:
        """Raise UsageError if the command needs an argument and this one is empty."""
        if self.argument and self.argument[0] != "[" and not argument:
            raise UsageError(f"/{self.name} needs an argument: {self.argument}", self.help)


COMMANDS = (
    Command("help", "", "show keys and commands", "f1"),
    Command("image", "PATH", "attach a picture, or pages of a PDF as pictures", "f2,ctrl+o"),
    Command("file", "PATH", "attach a document; report.pdf#3-7 chooses pages"),
    Command("audio", "PATH", "attach a recording; its first 15 s are transcribed"),
    Command("paste", "", "attach the picture in the clipboard", "f10,alt+v"),
    Command("record", "", "start or finish recording speech", "f4,ctrl+t"),
    Command("transcribe", "", "transcribe the last recording again"),
    Command("language", "LANGUAGE", "language of recordings, as in /language de; auto detects it"),
    Command("microphone", "[NAME]", "choose a microphone"),
    Command("talk", "", "talk hands free; Esc ends it", "alt+t"),
    Command(
        "speak", "[once|always|never]", "read the answer aloud, pause or resume it", "f12,alt+s"
    ),
    Command("voice", "[KEY=VALUE ...]", "set voice, speaking_rate and volume"),
    Command("speaker", "[NAME]", "choose a speaker or headphones"),
    Command("play", "", "play the last sound of the conversation"),
    Command("save", "[PATH]", "save pictures and sound of the last answer in a folder"),
    Command("drop", "", "remove all attachments"),
    Command("stop", "", "stop the answer, recording or playback", "escape"),
    Command("retry", "", "regenerate the last answer", "f5,ctrl+r"),
    Command("edit", "TEXT", "edit the last message", "f6"),
    Command("continue", "", "continue a stopped answer", "f7"),
    Command("branch", "", "show the next version of a message", "ctrl+g"),
    Command("tree", "", "show all versions as a tree; show or delete one", "alt+g"),
    Command("queue", "[send|clear]", "take back, send or clear waiting messages", "alt+up"),
    Command("copy", "[code|all]", "copy the last answer, its code, or all", "f8"),
    Command("new", "", "start a new conversation", "ctrl+n"),
    Command("history", "[WORDS]", "search conversations", "f3"),
    Command("resume", "ID", "open a conversation by the first characters of its id"),
    Command("sidebar", "", "show or hide the list of conversations at the left", "ctrl+b"),
    Command("find", "WORDS", "find words in this conversation", "ctrl+f"),
    Command("rename", "TEXT", "rename this conversation"),
    Command("export", "PATH", "export this conversation to a .md, .html or .json file"),
    Command("system", "TEXT", "edit the system prompt; /system - removes it", "f9"),
    Command("model", "[NAME]", "switch to another model; NAME is as after --model", "ctrl+l"),
    Command("sampling", "[KEY=VALUE ...]", "set temperature, top_p and max_tokens"),
    Command("theme", "[dark|light|contrast|terminal]", "choose a dark or light theme"),
    Command("details", "[on|off]", "show who wrote each message, when, and its speed"),
    Command("settings", "", "change model, theme, voice and microphone, and save them", "f11"),
    Command("screenshot", "[PATH]", "save the screen as an .svg file"),
    Command("quit", "", "quit; the conversation is saved", "ctrl+q"),
)
BY_NAME = {command.name: command for command in COMMANDS}


def parse(text: str) -> tuple[Command, str] | None:
    """Parse a command line.

    A command starts with a slash and a word. A word with another slash or a dot is a path, and a
    text that starts with a space is a message.

    Returns:
        The command and its argument; None if the text is a message.

    Raises:
        UsageError: There is no such command, or it does not take this argument.
    """
    if (match := _LINE.fullmatch(text.rstrip())) is None:
        return None
    name, argument = match[1], (match[2] or "").strip()
    command = BY_NAME.get(name.lower())
    if command is None:
        raise UsageError(f"there is no command /{name}", f"/help lists them; {ESCAPE_HINT}")
    command.check_argument(argument)
    if "\n" in text.rstrip():
        hint = f"/{command.name} without an argument opens a dialog"
        raise UsageError(f"/{command.name} takes one line", hint)
    return command, argument
