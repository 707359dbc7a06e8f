"""The entry point."""

from typing import NoReturn

from mmtui.entry import run


def main() -> NoReturn:
    run("mmtui")


if __name__ == "__main__":
    main()
