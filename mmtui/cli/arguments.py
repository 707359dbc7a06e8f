"""Commands whose text arguments may start with a dash, as in `mmtui ask "- Summarize: ..."`."""

import re
from typing import Any

from typer.core import TyperCommand, TyperOption


class TextCommand(TyperCommand):
    """A command that accepts text after a dash as an argument.

    `- one thing`, `-5 + 3` and `--why is that?` are text, because they contain a space or have no
    letter after the dash. Arguments that start with the name of an option with a value are options.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move text arguments behind a `--`, which ends the options."""
        takes_value = {
            name
            for option in self.params
            if isinstance(option, TyperOption) and not option.is_flag
            for name in option.opts
        }
        options: list[str] = []
        texts: list[str] = []
        rest = list(args)
        while rest:
            argument = rest.pop(0)
            if argument == "--":
                texts, rest = texts + rest, []
            elif _is_text(argument, takes_value):
                texts.append(argument)
            else:
                options.append(argument)
                if argument in takes_value and rest:
                    options.append(rest.pop(0))
        lacks_value = options and options[-1] in takes_value
        return list(super().parse_args(ctx, args if lacks_value else [*options, "--", *texts]))


def _is_text(argument: str, takes_value: set[str]) -> bool:
    """Return whether an argument is text, given the names of options with a value."""
    if not argument.startswith("-"):
        return True
    words = argument.split()
    is_option = words[0] in takes_value or re.match("--[^ =]+=", argument)
    has_letter = argument.lstrip("-")[:1].isalpha()
    return not is_option and (not has_letter or len(words) > 1)
