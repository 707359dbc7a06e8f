"""The options of `mmtrain align`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from mmtrain.options.fields import (
    Batch,
    LearningRate,
    MaxLength,
    Mirror,
    Steps,
    ValLimit,
    choice_option,
    list_views,
)
from mmtrain.options.run import RunOptions, StageName

if TYPE_CHECKING:
    from mmtrain.data.features import View

ProjectorKind = Literal["linear", "mlp"]
ProjectorInit = Literal["concepts", "ridge", "random"]


@dataclass(frozen=True, kw_only=True)
class AlignOptions(RunOptions):
    """The options of alignment, which trains the projector alone."""

    stage: ClassVar[StageName] = "align"

    projector: Annotated[
        ProjectorKind,
        choice_option(
            "Architecture of the projector: one linear layer, or two with a GELU between."
        ),
    ] = "linear"
    init: Annotated[
        ProjectorInit,
        choice_option(
            "Initial weights of the projector. ridge: a ridge regression from picture features to"
            " the embeddings of their captions. concepts: from the vision tower's class names to"
            " their embeddings. random: random weights.",
        ),
    ] = "ridge"
    steps: Steps = 2000
    batch: Batch = 16
    lr: LearningRate = 1e-3
    max_length: MaxLength = 512
    mirror: Mirror = False
    val_limit: ValLimit = 500

    @property
    def learning_rates(self) -> dict[str, float]:
        return {"projector": self.lr}

    @property
    def views(self) -> tuple["View", ...]:
        """The views of a picture that training draws from."""
        return list_views(self.mirror)
