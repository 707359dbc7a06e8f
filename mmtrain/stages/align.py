"""Stage align: train the projector; the vision tower and the language model are frozen."""

from collections.abc import Callable
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor

from mmtrain.data.dataset import Split
from mmtrain.model import projector_init
from mmtrain.model.loading import Components, require_vision
from mmtrain.model.modules import VisionLanguage
from mmtrain.options import AlignOptions
from mmtrain.stages import vision_language
from mmtrain.stages.stage import Stage
from mmtui.pipeline.assets import checkpoint


def build(
    components: Components,
    split: Split,
    options: AlignOptions,
    accelerator: Accelerator,
    notify: Callable[[str], None],
) -> Stage:
    """Build the align stage.

    An example is one forward pass with teacher forcing. The labels are the tokens of the answers,
    including the end of each. The projector is new even if the checkpoint has one.

    Args:
        components: The model, without the checkpoint's adapter: it was trained for the outputs of
            another projector.
        split: The training and validation examples; those without a picture are left out.
        options: The options of the run.
        accelerator: The device and the processes.
        notify: Called with what the user should know about the data.

    Raises:
        InputError: There is nothing to train on.
    """
    vision = require_vision(components.checkpoint)
    split = split.with_pictures()  # text alone does not train a projector
    train, validation = vision_language.build_datasets(
        components, split, options.max_length, options.views
    )
    count = projector_init.RIDGE_IMAGES if options.init == "ridge" else vision_language.SAMPLES
    with accelerator.main_process_first():
        features, captions = vision_language.collect_features(components, split.train, count)
    projector = projector_init.init_projector(
        options.init, options.projector, vision, components.language, features, captions
    )
    module = VisionLanguage(components.language.model, projector.to(accelerator.device))
    spec = components.checkpoint.spec

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
        samples=vision_language.make_sampler(components, projector, validation),
        prepare=vision_language.make_encoder(
            components, train, validation, options.views, accelerator, notify
        ),
    )
