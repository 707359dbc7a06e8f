"""`mmtui config`: show and edit the settings."""

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict

import typer

from mmtui.cli.options import JsonOption
from mmtui.errors import MmtuiError, UsageError
from mmtui.progress import print_json
from mmtui.text import one_line

config = typer.Typer(
    help="Show and edit the settings.", rich_markup_mode=None, no_args_is_help=True
)


@config.command()
def path() -> None:
    """Print the path of the settings file."""
    from mmtui.chat.config import get_path

    print(one_line(str(get_path())))


@config.command("show")
def show_config(as_json: JsonOption = False) -> None:
    """Show the settings, with those of the environment."""
    from mmtui.chat.config import Config
    from mmtui.frontends.tui.keymap import find_problems

    settings = Config.load()
    for problem, cure in find_problems(settings.keys):
        print(one_line(f"note: {problem}; {cure}"), file=sys.stderr)
    if as_json:
        print_json(asdict(settings))
        return
    for key, value in asdict(settings).items():
        print(one_line(f"{key:16} {value!r}"))


@config.command()
def edit() -> None:
    """Edit the settings in $VISUAL or $EDITOR, and check them afterwards."""
    from mmtui.chat.config import Config, get_path
    from mmtui.chat.config_template import TEMPLATE
    from mmtui.frontends.tui.keymap import find_problems

    file = get_path()
    variable = next((name for name in ("VISUAL", "EDITOR") if os.environ.get(name, "").strip()), "")
    if not variable:
        raise UsageError(
            f"no editor is set; the file is {file}", "set EDITOR, for example EDITOR=nano"
        )
    command = _get_editor(variable)
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(TEMPLATE, "utf-8")
    except OSError as error:
        raise MmtuiError(
            f"the settings can't be written: {file}: {error.strerror}",
            "set XDG_CONFIG_HOME to another folder",
        ) from error
    try:
        code = subprocess.run([*command, file], check=False).returncode
    except OSError as error:
        raise UsageError(
            f"{variable}: {command[0]} can't be started: {error.strerror}",
            f"{variable}=nano, or {variable}='\"/a path/editor\" --wait'",
        ) from error
    settings = Config.load(file)
    if code:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise MmtuiError(f"the editor, {command[0]}, ended with {how}", f"the file is {file}")
    if problems := list(find_problems(settings.keys)):
        raise UsageError(f"{file}: {'; '.join(problem for problem, _ in problems)}", problems[0][1])


def _get_editor(variable: str) -> list[str]:
    """Return the command in $VISUAL or $EDITOR: a program and its options.

    The program's path may have spaces.
    """
    command = os.environ[variable].strip()
    if program := shutil.which(os.path.expanduser(command)):  # noqa: PTH111 - may be a bare name
        return [program]
    try:
        return shlex.split(command)
    except ValueError:
        raise UsageError(
            f"{variable} has a quote that is not closed: {command}",
            f"{variable}=nano, or {variable}='\"/a path/editor\" --wait'",
        ) from None
