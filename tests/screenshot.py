"""Draw the README's picture: real commands, and what they answered, as a terminal shows it.

`python tests/screenshot.py` writes tests/screenshot.svg with the installed mmtui.
"""

import io
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
COMMANDS = (
    ["ask", "What is the capital of France?"],
    ["ask", "--system", "Answer in one sentence.", "Why do cats purr?"],
    ["ask", "--image", "README.md", "What is this?"],
    ["models"],
)


def main() -> None:
    console = Console(record=True, width=100, file=io.StringIO())
    for arguments in COMMANDS:
        run = subprocess.run(
            [Path(sys.executable).with_name("mmtui"), *arguments],
            cwd=HERE.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        typed = " ".join(f'"{word}"' if " " in word else word for word in arguments)
        console.print(Text.assemble(("$ ", "bold green"), (f"mmtui {typed}", "bold")))
        for said, style in ((run.stderr, "bright_black"), (run.stdout, "")):
            if said.strip():
                console.print(Text(said.rstrip(), style=style))
        console.print()
    console.save_svg(str(HERE / "screenshot.svg"), title="mmtui")


if __name__ == "__main__":
    main()
