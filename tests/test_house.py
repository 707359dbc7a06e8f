"""What a start loads, and how large modules are; import-linter checks which way imports point."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mmtui
from mmtui.pipeline.engines.llama_library import find_packages

ROOT = Path(mmtui.__file__).parent
HEAVY = {
    "torch",
    "transformers",
    "textual",
    "whisperx",
    "open_clip",
    "timm",
    "peft",
    "numpy",
    "PIL",
}
MODULES = sorted([*ROOT.rglob("*.py"), *ROOT.with_name("mmtrain").rglob("*.py")])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT.parent)))
def test_modules_stay_small(path):
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("mmtui", ["--help"]),
        ("mmtui", ["ask", "--help"]),
        ("mmtui", ["--version"]),
        ("mmtui", ["history", "--help"]),
        ("mmtui", ["ask", "--bad"]),
        ("mmtrain", ["--help"]),
        ("mmtrain", ["align", "--help"]),
        ("mmtrain", ["eval", "vqa", "--bad"]),
        ("mmtrain", ["data", "--help"]),
    ],
)
def test_nothing_heavy_is_loaded_where_it_is_not_needed(package, arguments):
    code = (
        "import sys, json, os, atexit; leave = os._exit\n"
        "def told(code): print(json.dumps(sorted(sys.modules)), file=sys.stderr); leave(code)\n"
        f"os._exit = told; sys.argv = [{package!r}, *{arguments!r}]\n"
        "import mmtui.entry; mmtui.entry._supervise = lambda name: None\n"
        f"from {package}.__main__ import main; main()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    loaded = {name.split(".")[0] for name in json.loads(run.stderr.splitlines()[-1])}
    assert package in loaded
    assert not loaded & HEAVY


def test_the_screen_comes_before_what_decodes_and_computes():
    """What the chat loads until it can be typed on; textual_image asks the terminal meanwhile."""
    code = "import sys, json, mmtui.frontends.tui.app; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(run.stdout)}
    assert "textual" in loaded
    assert not loaded & (HEAVY - {"textual"} | {"av", "textual_image", "sounddevice"})


def test_text_on_llama_cpp_loads_neither_torch_nor_transformers(smol):
    if not find_packages():
        pytest.skip("llama.cpp is not installed")
    code = (
        "import sys, os; leave = os._exit\n"
        "def told(code): print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr); "
        "leave(code)\n"
        "os._exit = told; sys.argv = ['mmtui', 'ask', '--engine', 'llamacpp', '--model', 'smol', "
        "'--max-tokens', '3', 'Hi']\n"
        "import mmtui.entry; mmtui.entry._supervise = lambda name: None\n"
        "from mmtui.__main__ import main; main()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    loaded = set(run.stderr.splitlines()[-1].split())
    assert run.returncode == 0, run.stderr
    assert not loaded & (HEAVY - {"numpy", "PIL"})


@pytest.mark.perf
def test_help_is_as_quick_as_its_libraries():
    """Within 1.5 times of importing typer and rich alone; the best of several runs of each."""

    def quickest(command: list[str]) -> float:
        took = []
        for _ in range(7):
            began = time.perf_counter()
            subprocess.run(command, capture_output=True, check=True)
            took.append(time.perf_counter() - began)
        return min(took)

    bare = quickest([sys.executable, "-c", "import typer, rich"])
    ours = quickest([str(Path(sys.executable).with_name("mmtui")), "--help"])
    print(f"--help: {ours / bare:.2f} times a bare import of typer and rich")
    assert ours < 1.5 * bare
