"""What a stage hands to the loop, and what the user decides about a run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from mmtrain.data.batches import Dataset
from mmtrain.optimizers import Name as OptimizerName

Precision = Literal["auto", "bf16", "fp32"]


@dataclass(frozen=True)
class Options:
    """A run's settings. `batch` is that of one process and one of its accumulated batches."""

    steps: int
    batch: int
    accumulation: int
    rates: dict[str, float]  # peak learning rates, by the part that is trained
    warmup: int
    decay: float
    clip: float
    optimizer: OptimizerName
    seed: int
    eval_every: int
    save_every: int
    val_limit: int

    def window(self, processes: int) -> int:
        """Examples in a step."""
        return self.batch * self.accumulation * processes


@dataclass(frozen=True)
class Sample:
    """What the model says about a picture of the validation data, beside what people said."""

    name: str
    picture: Path | None
    question: str
    answer: str
    reference: str


@dataclass
class Stage:
    """What differs between stages.

    `module` maps a batch to the summed loss of its trained tokens; what is not trained has
    `requires_grad` off. `in_training_mode`: whether dropout is on. `export` writes the
    trained parameters to a folder as a checkpoint of mmtui. `samples` may generate.
    """

    name: str
    module: nn.Module
    in_training_mode: bool
    train: Dataset
    validation: Dataset
    export: Callable[[Path, dict[str, Tensor]], None]
    samples: Callable[[], list[Sample]] | None = None
    prepare: Callable[[], None] = lambda: None  # what takes long, and a dry run leaves out
