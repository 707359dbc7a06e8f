"""The entry point; `accelerate launch -m mmtrain` comes here too."""

from typing import NoReturn

from mmtui.entry import load_command_line, run


def main() -> NoReturn:
    run("mmtrain", lambda: load_command_line("mmtrain"))


if __name__ == "__main__":
    main()
