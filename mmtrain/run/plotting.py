"""Plot the training and validation losses of one run or several."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmtrain.run import metrics
from mmtui.errors import UsageError
from mmtui.files import check_destination, replacing
from mmtui.text import one_line

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".svg", ".pdf")
NAME_LENGTH = 40  # characters of a run's name in the legend


def check_picture_path(file: Path) -> None:
    """Check that `plot` can write a file, before anything is read.

    Raises:
        UsageError: The suffix is not that of a supported format.
        InputError: `file` is not a regular file, or its folder is missing.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{file} does not have the suffix of a picture", f"use one of {' '.join(SUFFIXES)}"
        )
    check_destination(file)


def plot(runs: Sequence[Path], file: Path) -> None:
    """Plot the losses of runs in one figure. The suffix of `file` selects its format.

    Raises:
        UsageError: The suffix is not that of a supported format.
        InputError: A folder is not that of a run, or `file` can't be written.
    """
    from matplotlib.figure import Figure

    check_picture_path(file)
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes: Any = figure.add_subplot()
    handles: list[Any] = []
    labels: list[str] = []
    for number, (run, name) in enumerate(zip(runs, name_runs(runs), strict=True)):
        lines = metrics.read(run)
        colour = f"C{number}"
        trained = [(line["step"], line["loss"]) for line in lines if "loss" in line]
        if trained:
            steps, losses = zip(*trained, strict=True)
            axes.plot(steps, losses, color=colour, alpha=0.25, linewidth=0.6)
            handles += axes.plot(steps, list(metrics.smooth(list(losses))), color=colour)
            labels.append(f"{name} train, smoothed".strip())
        validated = [
            (line["step"], line["validation_loss"]) for line in lines if "validation_loss" in line
        ]
        if validated:
            steps, losses = zip(*validated, strict=True)
            handles += axes.plot(steps, losses, "o--", color=colour, markersize=4)
            labels.append(f"{name} validation".strip())
    axes.set(xlabel="step", ylabel="loss (nats per token)")
    axes.grid(alpha=0.3)
    # A label with a leading _ would be left out, and one with $ be read as a formula.
    legend = axes.legend(handles, [" "] * len(handles))
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set(text=label, parse_math=False)
    with replacing(file) as partial:
        figure.savefig(partial)


def name_runs(runs: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the runs' paths that differ, for a legend.

    The name of a single run is empty.
    """
    paths = [run.resolve() for run in runs]
    others = set(paths)
    if len(others) < 2:
        return [""] * len(runs)
    return [_shorten(one_line(str(_distinct(path, others - {path})))) for path in paths]


def _distinct(path: Path, others: set[Path]) -> Path:
    for length in range(1, len(path.parts)):
        end = path.parts[-length:]
        if all(other.parts[-length:] != end for other in others):
            return Path(*end)
    return path


def _shorten(name: str) -> str:
    """Replace the middle of a long name by an ellipsis: runs often differ in the last letters."""
    half = NAME_LENGTH // 2
    return (
        name
        if len(name) <= NAME_LENGTH
        else f"{name[: half - 1]}\N{HORIZONTAL ELLIPSIS}{name[-half:]}"
    )
