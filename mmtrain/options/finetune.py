"""The options of `mmtrain finetune`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from mmtrain.options.fields import (
    AUTO,
    Accumulation,
    Batch,
    Checkpointing,
    MaxLength,
    Mirror,
    Steps,
    ValLimit,
    choice_option,
    list_views,
    path_option,
    value_option,
)
from mmtrain.options.run import RunOptions, StageName

if TYPE_CHECKING:
    from mmtrain.data.features import View

Quantize = Literal["nf4", "none"]
LossWeights = Literal["token", "square", "answer"]


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(RunOptions):
    """The options of finetuning, which trains the projector and LoRA on the language model."""

    stage: ClassVar[StageName] = "finetune"

    model: Annotated[
        str,
        value_option(
            "MODEL",
            "Model to start from: a preset (smol, phi2) or a checkpoint folder. auto: runs/align if"
            f" it exists, else {AUTO}.",
        ),
    ] = "auto"
    images: Annotated[
        Path | None,
        path_option(
            "DIR",
            "Folder of the pictures that LLaVA-Instruct data refers to. Default: images/ or"
            " train2017/ beside the data file, or else the folder of that file.",
        ),
    ] = None
    quantize: Annotated[
        Quantize,
        choice_option(
            "Storage of the frozen language model. nf4: 4 bits per weight, a quarter of the memory"
            " of bf16 (QLoRA). none: unquantized, which is faster if it fits.",
        ),
    ] = "nf4"
    rank: Annotated[
        int | None,
        Ge(1),
        value_option(
            "R",
            "Rank of the LoRA matrices. Higher ranks can learn more and take more memory."
            " Default: the rank of the model's adapter, else 64.",
        ),
    ] = None
    alpha: Annotated[
        int | None,
        Ge(1),
        value_option(
            "A",
            "LoRA scaling: the adapter's output is multiplied by alpha / rank. Default: the alpha"
            " of the model's adapter, else 16.",
        ),
    ] = None
    dropout: Annotated[
        float | None,
        Ge(0),
        Le(0.9),
        value_option(
            "P",
            "Dropout probability on the inputs of LoRA layers. Raise it if the validation loss"
            " rises. Default: the dropout of the model's adapter, else 0.1.",
        ),
    ] = None
    patch_dropout: Annotated[
        float,
        Ge(0),
        Le(0.9),
        value_option(
            "P",
            "Dropout probability on the patch features before the projector. Raise it if the"
            " validation loss rises.",
        ),
    ] = 0.0
    loss_weights: Annotated[
        LossWeights,
        choice_option(
            "Weight of a token of an answer of n tokens in the loss. token: 1, so that captions"
            " outweigh answers of a word. square: 1/sqrt(n), for data with answers of very"
            " different lengths. answer: 1/n, so that all answers count the same."
        ),
    ] = "token"
    checkpointing: Checkpointing = False
    steps: Steps = 2000
    batch: Batch = 8
    accumulation: Accumulation = 2
    projector_lr: Annotated[
        float,
        Ge(0),
        value_option("LR", "Peak learning rate of the projector. Lower it if the loss jumps."),
    ] = 2e-5
    lora_lr: Annotated[
        float,
        Ge(0),
        value_option("LR", "Peak learning rate of the LoRA matrices. Lower it if the loss jumps."),
    ] = 2e-4
    max_length: MaxLength = 1024
    mirror: Mirror = False
    val_limit: ValLimit = 300

    @property
    def learning_rates(self) -> dict[str, float]:
        return {"projector": self.projector_lr, "language": self.lora_lr}

    @property
    def views(self) -> tuple["View", ...]:
        """The views of a picture that training draws from."""
        return list_views(self.mirror)
