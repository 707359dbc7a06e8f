"""Imports what the chat of a page needs, in the process that is forked for each page."""

import gc
import os
import sys
from importlib import import_module

from mmtui.chat.config import Config
from mmtui.entry import silence_libraries
from mmtui.frontends.page_process import SCREEN_VARIABLES

environment = dict(os.environ)
os.environ.update(SCREEN_VARIABLES)  # Textual reads them when it is imported
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy must not start threads: they do not survive a fork
for name in (
    "encodings.idna",
    "mmtui.chat.endpoint_model",
    "mmtui.cli.chat",
    "mmtui.cli.pages",
    "mmtui.endpoint.loading",
    "mmtui.frontends.tui.app",
    "mmtui.frontends.tui.launch",
    "mmtui.frontends.tui.screens.chat.screen",
    "mmtui.frontends.tui.web_driver",
    "multiprocessing.popen_forkserver",
    "textual.drivers.headless_driver",
    "textual.drivers.linux_driver",
    "textual.layouts.factory",
    "textual.layouts.horizontal",
    "textual.layouts.stream",
    "textual.pilot",
    "textual.scrollbar",
):
    import_module(name)
silence_libraries()
Config().replace()  # imports Pydantic, which compiles the validation of the settings
os.environ.clear()
os.environ.update(environment)

# Otherwise pages would write to the memory that they share: each search for unreachable objects,
# and each attribute that replaces another one in Python's cache, which refers to its name.
gc.collect()
gc.freeze()
sys._clear_type_cache()
