"""The options of a training run.

Each option is declared once, as a field of a dataclass. The field gives the option its name on the
command line, in the code and in run.json, its help text, its default and its range.
"""

from mmtrain.options.align import AlignOptions, ProjectorInit, ProjectorKind
from mmtrain.options.finetune import FinetuneOptions, LossWeights, Quantize
from mmtrain.options.pretrain import PretrainOptions
from mmtrain.options.run import (
    CHANGEABLE_ON_RESUME,
    OptimizerName,
    Precision,
    RunOptions,
    StageName,
    StartOptions,
    Tracker,
    get_flag,
)

__all__ = [
    "CHANGEABLE_ON_RESUME",
    "AlignOptions",
    "FinetuneOptions",
    "LossWeights",
    "OptimizerName",
    "Precision",
    "PretrainOptions",
    "ProjectorInit",
    "ProjectorKind",
    "Quantize",
    "RunOptions",
    "StageName",
    "StartOptions",
    "Tracker",
    "get_flag",
]
