"""The chat of a page of `mmtui serve`: on Linux a fork of a process, elsewhere a command."""

import sys
from collections.abc import Callable
from functools import partial

from mmtui.entry import run, silence_libraries
from mmtui.frontends.page_process import ChatOptions, CommandStarter, ForkStarter, PageStarter


def make_starter(options: ChatOptions) -> PageStarter:
    """Return what starts chats with these options."""
    if sys.platform == "linux":
        # Otherwise multiprocessing would run the script of the command again for each page.
        vars(sys.modules["__main__"]).pop("__file__", None)
        return ForkStarter(partial(_run_chat, options), "mmtui.cli.preloaded_chat")
    return CommandStarter([sys.executable, "-P", "-m", "mmtui", *options.to_arguments()])


def _run_chat(options: ChatOptions) -> None:
    """Run a chat, and exit."""
    sys.argv = ["mmtui"]  # the arguments are those of the server
    run("mmtui", partial(_load_chat, options), is_supervised=False)


def _load_chat(options: ChatOptions) -> Callable[[], None]:
    silence_libraries()
    from mmtui.cli.chat import chat

    return partial(chat, **vars(options))
