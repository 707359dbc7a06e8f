"""The entry point, small so that Ctrl-C is quiet from the first moment."""

import os
import signal
from typing import NoReturn


def main() -> NoReturn:
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # nothing has begun yet
    from mmtui import cli

    signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.main()


if __name__ == "__main__":
    main()
