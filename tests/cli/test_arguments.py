"""Free text on a command line is distinguished from options."""

import pytest
import typer
from typer.testing import CliRunner

from mmtui.cli.arguments import TextCommand

app = typer.Typer()


@app.command(cls=TextCommand)
def _say(
    words: list[str], limit: int = typer.Option(1, "--limit"), loud: bool = typer.Option(False)
) -> None:
    print(words, limit, loud)


def parse(*arguments: str) -> str:
    return CliRunner().invoke(app, arguments).output.strip()


@pytest.mark.parametrize(
    "text",
    [
        "- Summarize: the sky", "-5 + 3 is what?", "--why is the sky blue?", "-5", "-", "- ",
        "-x = 5?", "--help me, please", "--loud music?", "--- a/file\n+++ b/file", "-\n-",
    ],
)  # fmt: skip
def test_text_that_starts_with_a_dash_is_an_argument(text):
    assert parse(text) == f"[{text!r}] 1 False"
    assert parse("--limit", "2", text, "--loud") == f"[{text!r}] 2 True"
    assert parse("a", text, "b", "--limit=3") == f"{['a', text, 'b']} 3 False"


def test_options_and_mistyped_options_are_not_taken_for_text():
    assert parse("a", "--limit=2 ") == "['a'] 2 False"
    assert parse("--limit", "2", "--", "--loud", "-x") == "['--loud', '-x'] 2 False"
    for mistyped in ("--limt", "--limt=2", "--limt=be brief", "-x", "--limit 2", "--loud=1"):
        assert "No such option" in parse("a", mistyped) or "does not take" in parse("a", mistyped)
    assert "Missing argument" in parse("--limit", "2")
    assert "requires an argument" in parse("a", "--limit")
    assert "Invalid value" in parse("a", "--limit", "- x")
