"""mkdocs hooks: they generate the command line reference from the commands."""

import subprocess
import sys

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PROGRAMS = {"mmtui": "mmtui.cli.app", "mmtrain": "mmtrain.cli.app"}
PAGE = "reference/cli.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page with the help text of every command of both programs."""
    files.append(File.generated(config, PAGE, content=_reference()))
    return files


def _reference() -> str:
    """Return the page in Markdown, as `typer utils docs` writes it for each program."""
    parts = ["# Command line\n"]
    for name, module in PROGRAMS.items():
        command = [sys.executable, "-m", "typer", module, "utils", "docs", "--name", name]
        page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        parts.append("\n".join(_lower_heading(line) for line in page.splitlines()))
    return "\n\n".join(parts)


def _lower_heading(line: str) -> str:
    """Lower a heading by one level, so that both programs fit under one title."""
    return f"#{line}" if line.startswith("#") else line
