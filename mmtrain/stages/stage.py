"""The interface between a stage and the training loop."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmtrain.data.dataset import Dataset
from mmtrain.evaluation.contact_sheet import Sample
from mmtrain.model.modules import count_trained_tokens
from mmtrain.options import StageName


@dataclass
class Stage:
    """What the training loop needs to know about a stage.

    Attributes:
        name: The stage.
        module: Maps a batch to the loss, summed over its labels; frozen parameters have
            `requires_grad` off.
        in_training_mode: Train with dropout.
        train: The training data.
        validation: The validation data.
        export: Writes trained parameters to a folder as a checkpoint of mmtui.
        count_weight: Returns the sum of the weights of a batch's labels in training, by which the
            loss is divided.
        samples: Generates the answers about a few pictures, for each validation.
        prepare: Does what takes long before the first step; a dry run leaves it out.
    """

    name: StageName
    module: nn.Module
    in_training_mode: bool
    train: Dataset
    validation: Dataset
    export: Callable[[Path, dict[str, Tensor]], None]
    count_weight: Callable[[Any], float] = count_trained_tokens
    samples: Callable[[], list[Sample]] | None = None
    prepare: Callable[[], None] = lambda: None
