"""Draw the README's picture: a photo, real questions, and what was answered, as in a terminal.

`python tests/screenshot.py` writes tests/screenshot.svg with the installed mmtui. The photo is
Chelsea the cat, by Stefan van der Walt (CC0), from scikit-image.
"""

import io
import subprocess
import sys
from pathlib import Path

import skimage
from rich.console import Console
from rich.text import Text
from textual_image.renderable import HalfcellImage

HERE = Path(__file__).parent
PHOTOS = Path(skimage.__file__).parent / "data"
COMMANDS = (
    ["ask", "--image", "chelsea.png", "What is this?"],
    ["ask", "--image", "chelsea.png", "Is there a dog in this picture? Answer yes or no."],
    ["ask", "--image", "coffee.png", "What is in this picture?"],
    ["ask", "--system", "Answer in one sentence.", "Why do cats purr?"],
)


def main() -> None:
    console = Console(record=True, width=100, file=io.StringIO(), color_system="truecolor")
    console.print(HalfcellImage(PHOTOS / "chelsea.png", width=40))
    for arguments in COMMANDS:
        run = subprocess.run(
            [Path(sys.executable).with_name("mmtui"), *arguments],
            cwd=PHOTOS,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        typed = " ".join(f'"{word}"' if " " in word else word for word in arguments)
        console.print(Text.assemble(("$ ", "bold green"), (f"mmtui {typed}", "bold")))
        console.print(Text(f"{run.stdout.strip()}\n"))
    console.save_svg(str(HERE / "screenshot.svg"), title="mmtui")


if __name__ == "__main__":
    main()
