"""align: the projector alone learns; tower and language model are frozen."""

from collections.abc import Callable
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor

from mmtrain import starts
from mmtrain.data.examples import Split
from mmtrain.model import VisionLanguage
from mmtrain.options import AlignOptions
from mmtrain.parts import Parts, needs_sight
from mmtrain.stage import Stage
from mmtrain.stages import sight
from mmtui.pipeline import checkpoint


def build(
    parts: Parts,
    split: Split,
    options: AlignOptions,
    accelerator: Accelerator,
    say: Callable[[str], None],
) -> Stage:
    """Each example is one teacher-forced pass; the loss is on the answers, each with its end.

    A new projector begins, whatever the checkpoint has: `parts` are loaded without its adapter,
    which learnt to read another.
    """
    vision = needs_sight(parts.checkpoint)
    split = split.with_pictures()  # nothing else trains a projector
    train, validation = sight.datasets(parts, split, options.max_length, options.views)
    count = starts.RIDGE_IMAGES if options.init == "ridge" else sight.SAMPLES
    with accelerator.main_process_first():
        features, captions = sight.sample_features(parts, split.train, count)
    projector = starts.projector(
        options.init, options.projector, vision, parts.language, features, captions
    )
    module = VisionLanguage(parts.language.model, projector.to(accelerator.device))
    spec = parts.checkpoint.spec

    def export(folder: Path, state: dict[str, Tensor]) -> None:
        weights = {name.removeprefix("projector."): tensor for name, tensor in state.items()}
        checkpoint.write(folder, spec, weights)

    return Stage(
        "align",
        module,
        in_training_mode=False,
        train=train,
        validation=validation,
        export=export,
        samples=sight.sampler(parts, projector, validation),
        prepare=sight.encoder(parts, train, validation, options.views, accelerator, say),
    )
