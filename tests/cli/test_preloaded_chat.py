"""The process of which each page of `mmtui serve` is a fork."""

import json
import subprocess
import sys

SCRIPT = """
import json, os, sys
before = dict(os.environ)
import mmtui.cli.preloaded_chat
packages = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([packages, dict(os.environ) == before]))
"""


def test_it_has_what_pages_need_and_nothing_of_the_server():
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=True
    )
    packages, has_same_environment = json.loads(run.stdout)
    assert {"textual", "pydantic", "sqlite3"} <= set(packages)
    # Each page would pay for them; numpy would start threads, which do not survive a fork.
    assert not {"aiohttp", "textual_serve", "numpy", "torch"} & set(packages)
    assert has_same_environment
