"""What a stage hands to the loop."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from mmtrain.data.dataset import Dataset
from mmtrain.evaluation.contact_sheet import Sample
from mmtrain.options import StageName


@dataclass
class Stage:
    """What differs between stages.

    `module` maps a batch to the summed loss of its trained tokens; what is not trained has
    `requires_grad` off. `in_training_mode`: whether dropout is on. `export` writes the
    trained parameters to a folder as a checkpoint of mmtui. `samples` may generate.
    """

    name: StageName
    module: nn.Module
    in_training_mode: bool
    train: Dataset
    validation: Dataset
    export: Callable[[Path, dict[str, Tensor]], None]
    samples: Callable[[], list[Sample]] | None = None
    prepare: Callable[[], None] = lambda: None  # what takes long, and a dry run leaves out
