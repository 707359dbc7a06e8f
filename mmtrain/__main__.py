"""The entry point; `accelerate launch -m mmtrain` comes here too."""

from typing import NoReturn

from mmtui.entry import run


def main() -> NoReturn:
    run("mmtrain")


if __name__ == "__main__":
    main()
