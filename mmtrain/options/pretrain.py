"""The options of `mmtrain pretrain`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge

from mmtrain.options.fields import (
    AUTO,
    Batch,
    Checkpointing,
    LearningRate,
    SaveEvery,
    Steps,
    Warmup,
    WeightDecay,
    path_option,
    value_option,
)
from mmtrain.options.run import RunOptions, StageName


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(RunOptions):
    """The options of pretraining, which trains a Phi language model from random weights."""

    stage: ClassVar[StageName] = "pretrain"

    data: Annotated[
        list[Path] | None,
        path_option(
            "PATH",
            "Training text: RedPajama's JSON lines, a file or a folder. May be repeated. Default:"
            " $MMTRAIN_DATA, else generated text about coloured shapes.",
        ),
    ] = None
    model: Annotated[
        str,
        value_option(
            "MODEL",
            "Model whose vision tower and speech model the new checkpoint refers to: a preset"
            f" (smol, phi2) or a checkpoint folder. auto: {AUTO}.",
        ),
    ] = "auto"
    size: Annotated[
        str,
        value_option(
            "phi-2|170m|nano|FILE",
            "Size of the language model: phi-2 (2.7 B parameters), 170m or nano (1.8 M); or FILE,"
            " the config.json of a Phi in the format of transformers.",
        ),
    ] = "nano"
    block: Annotated[
        int,
        Ge(8),
        value_option(
            "N",
            "Tokens in a row. It is also the context length of the trained model. Lower it to save"
            " memory.",
        ),
    ] = 256
    validation: Annotated[
        list[Path] | None,
        path_option(
            "PATH",
            "Text to validate on, a file or a folder. May be repeated. Default: one document in"
            " 100 of the training data is held out.",
        ),
    ] = None
    checkpointing: Checkpointing = False
    steps: Steps = 4000
    batch: Batch = 4
    lr: LearningRate = 1e-3
    warmup: Warmup = 100
    weight_decay: WeightDecay = 0.1
    save_every: SaveEvery = 500

    @property
    def learning_rates(self) -> dict[str, float]:
        return {"language": self.lr}
