"""Where a projector begins: at random, from concepts that the tower knows, or from captions."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mmtrain.options import ProjectorInit
from mmtui.errors import MissingError, MmtuiError
from mmtui.pipeline.assets import fetch
from mmtui.pipeline.assets.spec import VisionSpec
from mmtui.pipeline.engines.torch_language import LanguageModel
from mmtui.pipeline.vision.projector import Kind, Projector, make
from mmtui.pipeline.vision.tags import class_names, classifier

RIDGE_IMAGES = 2000


def projector(
    start: ProjectorInit,
    kind: Kind,
    spec: VisionSpec,
    language: LanguageModel,
    features: Tensor,
    captions: list[str],
) -> Projector:
    """A projector to train, whose outputs are as long as the model's own embeddings.

    `features` (images, patches, width) are some of the training images; `captions` says one
    thing about each.
    """
    hidden, table = language.hidden, language.embedding.weight.detach().float().cpu()
    linear = nn.Linear(spec.width, hidden)
    with torch.no_grad():
        if start == "concepts":
            concepts, names = _concepts(spec)
            meanings = _meanings(names, language, table)
            # What all names share says nothing: it goes into the bias.
            linear.weight.copy_(_centred(meanings).T @ concepts)
        elif start == "ridge":
            seen = _centred(features.float().mean(1))
            meant = _centred(_meanings(captions, language, table))
            linear.weight.copy_(_ridge(seen, meant))
        linear.bias.zero_()
        said = linear(features.float().flatten(0, 1))
        linear.bias.copy_(-said.mean(0))
        length = (said - said.mean(0)).norm(dim=1).mean()
        factor = table.norm(dim=1).mean() / length.clamp(min=1e-6)
        linear.weight.mul_(factor)
        linear.bias.mul_(factor).add_(table.mean(0))
        return linear if kind == "linear" else _as_mlp(linear)


def _as_mlp(linear: nn.Linear) -> Projector:
    """The same map: GELU(x) - GELU(-x) = x."""
    mlp: Any = make("mlp", linear.in_features, linear.out_features)
    one = torch.eye(linear.out_features)
    mlp[0].weight.copy_(torch.cat([linear.weight, -linear.weight]))
    mlp[0].bias.copy_(torch.cat([linear.bias, -linear.bias]))
    mlp[2].weight.copy_(torch.cat([one, -one], dim=1))
    mlp[2].bias.zero_()
    return mlp  # type: ignore[no-any-return]


def _meanings(texts: Iterable[str], language: LanguageModel, table: Tensor) -> Tensor:
    """The mean embedding of each text's tokens: (texts, hidden)."""
    tokenizer = language.tokenizer
    ids = [tokenizer(" " + text, add_special_tokens=False).input_ids for text in texts]
    return torch.stack([table[row].mean(0) for row in ids])


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(0)


def _ridge(seen: Tensor, meant: Tensor) -> Tensor:
    """(hidden, width): from what is seen to what is meant by it, both without their means.

    The penalty is the one with the least leave-one-out error (Hoerl and Kennard, 1970).
    """
    from sklearn.linear_model import RidgeCV

    if len(seen) < 10:
        raise MmtuiError(f"{len(seen)} images are too few for a ridge start", "--init random")
    model = RidgeCV(alphas=[10.0**power for power in range(-3, 7)])
    model.fit(seen.numpy(), meant.numpy())
    return torch.from_numpy(model.coef_).float()


def _concepts(spec: VisionSpec) -> tuple[Tensor, list[str]]:
    """Directions in the tower's feature space (concepts, width), and their names.

    Of a CLIP tower: its text side, asked for the classes of ImageNet. Of a classifier: the
    weights of its last layer. Raises MissingError for a tower that has neither.
    """
    names = class_names()
    weights = fetch.fetch(spec.weights)
    if spec.architecture == "open_clip":
        return _clip_concepts(str(weights), names), names
    classes, _ = classifier(weights)
    if len(classes) != len(names):
        raise MissingError("this tower's classifier is not one of ImageNet", "--init ridge")
    return _centred(classes), names


def _clip_concepts(folder: str, names: list[str]) -> Tensor:
    import open_clip

    try:
        model: Any = open_clip.create_model(f"local-dir:{folder}")
        tokenizer: Any = open_clip.get_tokenizer(f"local-dir:{folder}")
        texts = tokenizer([f"a photo of a {name}" for name in names])
        means = nn.functional.normalize(model.encode_text(texts), dim=1)
        projection: Tensor = model.visual.proj  # (width, embedding)
    except (AttributeError, RuntimeError, IndexError, OSError, ValueError) as error:
        raise MissingError(
            f"this CLIP model's text side can't be used: {error}", "--init ridge"
        ) from error
    return (means - means.mean(0)) @ projection.T
