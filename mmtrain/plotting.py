"""Loss curves: training, smoothed, and validation, of one run or several."""

from pathlib import Path
from typing import Any

from mmtrain import metrics
from mmtui.files import replacing


def plot(runs: list[Path], file: Path) -> None:
    """Raises InputError for a folder that is no run's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes: Any = figure.add_subplot()
    for number, run in enumerate(runs):
        lines = metrics.read(run)
        colour = f"C{number}"
        name = f"{run.resolve().name} " if len(runs) > 1 else ""
        trained = [(line["step"], line["loss"]) for line in lines if "loss" in line]
        if trained:
            steps, losses = zip(*trained, strict=True)
            axes.plot(steps, losses, color=colour, alpha=0.25, linewidth=0.6)
            axes.plot(
                steps,
                list(metrics.smoothed(list(losses))),
                color=colour,
                label=f"{name}train, smoothed",
            )
        held = [
            (line["step"], line["validation_loss"]) for line in lines if "validation_loss" in line
        ]
        if held:
            steps, losses = zip(*held, strict=True)
            axes.plot(steps, losses, "o--", color=colour, markersize=4, label=f"{name}validation")
    axes.set(xlabel="step", ylabel="loss (nats per token)")
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(file) as aside:
        figure.savefig(aside)
