"""The options that several stages declare, some with different defaults."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from annotated_types import Ge

from mmtui.paths import resolve

if TYPE_CHECKING:
    from mmtrain.data.features import View

# The model that "auto" selects for training, as help texts describe it.
AUTO = "phi2 if its weights are downloaded and there is a GPU, else smol"


def value_option(metavar: str, help_text: str) -> Any:
    """Return an option with a value, named `metavar` in the help."""
    return typer.Option(metavar=metavar, help=help_text)


def choice_option(help_text: str) -> Any:
    """Return an option whose values are those of its Literal type."""
    return typer.Option(help=help_text)


def path_option(metavar: str, help_text: str) -> Any:
    """Return an option with a path, in which "~" is expanded."""
    return typer.Option(metavar=metavar, parser=resolve, help=help_text)


# Options that several stages have with different defaults.
Steps = Annotated[
    int,
    Ge(1),
    value_option(
        "N",
        "Optimizer steps of the whole run. Raise it together with --resume to prolong a"
        " finished run.",
    ),
]
Batch = Annotated[
    int,
    Ge(1),
    value_option(
        "N",
        "Rows per forward pass and process. Lower it if memory runs out, and raise"
        " --accumulation to keep the rows per step.",
    ),
]
Accumulation = Annotated[
    int,
    Ge(1),
    value_option(
        "N",
        "Batches whose gradients are accumulated into one optimizer step. A step trains on"
        " batch x accumulation x processes rows.",
    ),
]
LearningRate = Annotated[
    float,
    Ge(0),
    value_option("LR", "Peak learning rate. Lower it if the loss jumps or becomes NaN."),
]
Warmup = Annotated[
    int,
    Ge(0),
    value_option(
        "N",
        "Steps over which the learning rate rises linearly to its peak, at most a tenth of"
        " --steps. A cosine then lowers it to a tenth of the peak.",
    ),
]
WeightDecay = Annotated[
    float,
    Ge(0),
    value_option(
        "X",
        "Weight decay of AdamW on weight matrices; biases and norms are never decayed. 0 turns it"
        " off.",
    ),
]
ValLimit = Annotated[
    int,
    Ge(0),
    value_option(
        "N",
        "Maximum number of held-out rows in a validation, spread over the validation data. Lower"
        " it to validate faster; 0 turns validation off.",
    ),
]
SaveEvery = Annotated[
    int,
    Ge(1),
    value_option(
        "N", "Steps between two saves. A save writes the model and the state for --resume."
    ),
]
MaxLength = Annotated[
    int,
    Ge(8),
    value_option(
        "N",
        "Maximum length of a row in tokens, including the patches of its pictures. Longer"
        " dialogues lose their last turns. Lower it to save memory.",
    ),
]
Mirror = Annotated[
    bool,
    typer.Option(
        "--mirror",
        help='Data augmentation: mirror half of the pictures and swap "left" and "right" in their'
        " texts. Doubles the pictures that the vision tower encodes before the first step.",
    ),
]
Checkpointing = Annotated[
    bool,
    typer.Option(
        "--checkpointing",
        help="Gradient checkpointing: recompute activations in the backward pass instead of"
        " storing them. Uses far less memory; a step takes about a third longer.",
    ),
]


def list_views(mirror: bool) -> tuple["View", ...]:
    """Return the views of a picture that training draws from."""
    return ("plain", "mirrored") if mirror else ("plain",)
