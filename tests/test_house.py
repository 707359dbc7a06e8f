"""The size of modules and what they import. import-linter checks the layers."""

import ast
import json
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import mmtui
from mmtui.compat import TESTED
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
    """Run a command. Returns the modules that it imported, and the process."""
    code = LIST_MODULES.replace("{package}", package)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return set(json.loads(run.stderr.splitlines()[-1])), run


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


@pytest.mark.parametrize("has_picture", [False, True], ids=["text", "picture"])
def test_answers_on_llama_cpp_load_neither_torch_nor_transformers(smol, cat, has_picture):
    if not find_packages():
        pytest.skip("llama.cpp is not installed")
    options = ["--engine", "llamacpp", "--model", "smol", "--max-tokens", 3]
    if has_picture:
        options += ["--image", cat]
        run_and_list_modules("mmtui", "ask", *options, "Hi")  # exports the vision tower once
    loaded, run = run_and_list_modules("mmtui", "ask", "--json", *options, "Hi")
    assert run.returncode == 0 and json.loads(run.stdout)["engine"] == "llamacpp", run.stderr
    assert not loaded & (HEAVY - {"numpy", "PIL"} | {"av", "asyncio"})
    if not has_picture:
        assert "numpy.random" not in loaded


def test_transcribing_loads_neither_torch_nor_whisperx(smol, shared):
    clip = next((shared / "speech").glob("*.wav"))
    loaded, run = run_and_list_modules("mmtui", "transcribe", clip)
    assert run.returncode == 0 and run.stdout.strip(), run.stderr
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


def list_private_imports(file: Path) -> list[str]:
    """Return what a module imports from private modules of other packages, or by private names."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found += [
            name
            for name in names
            if name.split(".")[0] not in {"mmtui", "mmtrain", "__future__", "_typeshed"}
            and any(part.startswith("_") for part in name.split("."))
        ]
    return found


def test_private_parts_of_other_packages_are_imported_in_compat_alone():
    hooks = {file for file in MODULES if "mmtui/compat" in file.as_posix()}
    assert any(list_private_imports(file) for file in hooks)
    offenders = {str(file): list_private_imports(file) for file in MODULES if file not in hooks}
    assert not {file: names for file, names in offenders.items() if names}


@pytest.mark.parametrize("library", TESTED)
def test_the_hooks_were_tested_with_what_is_installed(library):
    assert SpecifierSet(TESTED[library]).contains(metadata.version(library).split("+")[0])
