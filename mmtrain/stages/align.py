"""align: the projector alone learns; tower and language model are frozen."""

from collections.abc import Callable
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor

from mmtrain.data.examples import Split
from mmtrain.model import projector_init
from mmtrain.model.loading import Parts, needs_sight
from mmtrain.model.modules import VisionLanguage
from mmtrain.options import AlignOptions
from mmtrain.stages import vision_language
from mmtrain.stages.stage import Stage
from mmtui.pipeline.assets import checkpoint


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
    train, validation = vision_language.datasets(parts, split, options.max_length, options.views)
    count = projector_init.RIDGE_IMAGES if options.init == "ridge" else vision_language.SAMPLES
    with accelerator.main_process_first():
        features, captions = vision_language.sample_features(parts, split.train, count)
    projector = projector_init.projector(
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
        samples=vision_language.sampler(parts, projector, validation),
        prepare=vision_language.encoder(parts, train, validation, options.views, accelerator, say),
    )
