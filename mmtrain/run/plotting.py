"""Loss curves: training, smoothed, and validation, of one run or several."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmtrain.run import metrics
from mmtui.errors import UsageError
from mmtui.files import check_destination, replacing
from mmtui.text import one_line

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".svg", ".pdf")
NAME_LENGTH = 40  # characters of a run's name in the legend


def check_picture_path(file: Path) -> None:
    """Refuse a path that `plot` can't write, before anything is read.

    Raises:
        UsageError: The ending names no format that a plot can have.
        InputError: `file` is no regular file, or its folder is missing.
    """
    if file.suffix.lower() not in ENDINGS:
        raise UsageError(
            f"{file} ends in no format of a plot", f"these endings work: {' '.join(ENDINGS)}"
        )
    check_destination(file)


def plot(runs: Sequence[Path], file: Path) -> None:
    """Draw the losses of runs over each other, in the format that the ending of `file` names.

    Raises:
        UsageError: The ending names no format that a plot can have.
        InputError: A folder is no run's, or `file` can't be written.
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
            handles += axes.plot(steps, list(metrics.smoothed(list(losses))), color=colour)
            labels.append(f"{name} train, smoothed".strip())
        held = [
            (line["step"], line["validation_loss"]) for line in lines if "validation_loss" in line
        ]
        if held:
            steps, losses = zip(*held, strict=True)
            handles += axes.plot(steps, losses, "o--", color=colour, markersize=4)
            labels.append(f"{name} validation".strip())
    axes.set(xlabel="step", ylabel="loss (nats per token)")
    axes.grid(alpha=0.3)
    # A label with a leading _ would be left out, and one with $ be read as a formula.
    legend = axes.legend(handles, [" "] * len(handles))
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set(text=label, parse_math=False)
    with replacing(file) as aside:
        figure.savefig(aside)


def name_runs(runs: Sequence[Path]) -> list[str]:
    """The names of runs in a legend: of each as much of its path as tells it from the others.

    A single run needs no name.
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
    """A long name keeps its two ends: runs often differ in the last letters."""
    half = NAME_LENGTH // 2
    return (
        name
        if len(name) <= NAME_LENGTH
        else f"{name[: half - 1]}\N{HORIZONTAL ELLIPSIS}{name[-half:]}"
    )
