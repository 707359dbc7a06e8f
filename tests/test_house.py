"""The size of modules, and the imports of a start. import-linter checks the layers."""

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


# Runs a command as its entry point does, and writes the imported modules to stderr at its end.
LIST_MODULES = """
import json, os, sys
leave = os._exit
def list_modules(code):
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
    leave(code)
os._exit = list_modules
import mmtui.entry
mmtui.entry._supervise = lambda name: None
from {package}.__main__ import main
main()
"""


def run_and_list_modules(
    package: str, *arguments: object
) -> tuple[set[str], "subprocess.CompletedProcess[str]"]:
    """Run a command. Returns the top-level modules that it imported, and the process."""
    code = LIST_MODULES.replace("{package}", package)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return {name.split(".")[0] for name in json.loads(run.stderr.splitlines()[-1])}, run


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
def test_help_versions_and_usage_errors_import_nothing_heavy(package, arguments):
    loaded, _ = run_and_list_modules(package, *arguments)
    assert package in loaded
    assert not loaded & HEAVY


def test_the_chat_opens_before_anything_else_heavy_is_imported():
    """Only Textual is needed for the screen; textual_image would query the terminal."""
    code = "import sys, json, mmtui.frontends.tui.app; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(run.stdout)}
    assert "textual" in loaded
    assert not loaded & (HEAVY - {"textual"} | {"av", "textual_image", "sounddevice"})


def test_text_on_llama_cpp_loads_neither_torch_nor_transformers(smol):
    if not find_packages():
        pytest.skip("llama.cpp is not installed")
    options = ["--engine", "llamacpp", "--model", "smol", "--max-tokens", 3]
    loaded, run = run_and_list_modules("mmtui", "ask", *options, "Hi")
    assert run.returncode == 0, run.stderr
    assert not loaded & (HEAVY - {"numpy", "PIL"})


@pytest.mark.perf
def test_help_takes_at_most_half_longer_than_importing_its_libraries():
    """Compare the fastest of several runs with importing Typer and Rich alone."""

    def quickest(command: list[str]) -> float:
        durations = []
        for _ in range(7):
            start = time.perf_counter()
            subprocess.run(command, capture_output=True, check=True)
            durations.append(time.perf_counter() - start)
        return min(durations)

    bare = quickest([sys.executable, "-c", "import typer, rich"])
    ours = quickest([str(Path(sys.executable).with_name("mmtui")), "--help"])
    print(f"--help: {ours / bare:.2f} times a bare import of typer and rich")
    assert ours < 1.5 * bare
