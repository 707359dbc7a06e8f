"""Initialize a projector: from captions, from the vision tower's class names, or at random."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mmtrain.options import ProjectorInit
from mmtui.errors import InputError, MissingError, MmtuiError
from mmtui.pipeline.assets import fetch
from mmtui.pipeline.assets.spec import VisionSpec
from mmtui.pipeline.engines.torch_language import TorchLanguage
from mmtui.pipeline.vision.classifier import list_imagenet_classes, load_classifier
from mmtui.pipeline.vision.projector import Kind, Projector, build

RIDGE_IMAGES = 2000  # pictures whose captions the ridge regression is fitted to


def init_projector(
    method: ProjectorInit,
    kind: Kind,
    spec: VisionSpec,
    language: TorchLanguage,
    features: Tensor,
    captions: list[str],
) -> Projector:
    """Create a projector and initialize its weights.

    Whatever the method, the outputs for the training pictures get the mean and the mean norm of
    the language model's token embeddings.

    Args:
        method: "ridge": a ridge regression from the mean features of pictures to the mean token
            embeddings of their captions. "concepts": from class names of ImageNet, as the tower
            knows them, to their token embeddings. "random": PyTorch's random weights.
        kind: The architecture of the projector.
        spec: The vision tower.
        language: The language model.
        features: Features (pictures, patches, width) of some training pictures.
        captions: A caption of each.

    Raises:
        MmtuiError: There are too few pictures for a ridge regression.
        MissingError: The tower has no class names.
    """
    hidden, table = language.hidden_size, language.embedding.weight.detach().float().cpu()
    linear = nn.Linear(spec.width, hidden)
    with torch.no_grad():
        if method == "concepts":
            directions, names = _load_concepts(spec)
            embeddings = _embed_texts(names, language, table)
            linear.weight.copy_(_center(embeddings).T @ directions)
        elif method == "ridge":
            inputs = _center(features.float().mean(1))
            outputs = _center(_embed_texts(captions, language, table))
            linear.weight.copy_(_fit_ridge(inputs, outputs))
        linear.bias.zero_()
        projected = linear(features.float().flatten(0, 1))
        linear.bias.copy_(-projected.mean(0))
        norm = (projected - projected.mean(0)).norm(dim=1).mean()
        factor = table.norm(dim=1).mean() / norm.clamp(min=1e-6)
        linear.weight.mul_(factor)
        linear.bias.mul_(factor).add_(table.mean(0))
        return linear if kind == "linear" else _convert_to_mlp(linear)


def _convert_to_mlp(linear: nn.Linear) -> Projector:
    """Return a two-layer projector that computes the same: GELU(x) - GELU(-x) = x."""
    mlp: Any = build("mlp", linear.in_features, linear.out_features)
    identity = torch.eye(linear.out_features)
    mlp[0].weight.copy_(torch.cat([linear.weight, -linear.weight]))
    mlp[0].bias.copy_(torch.cat([linear.bias, -linear.bias]))
    mlp[2].weight.copy_(torch.cat([identity, -identity], dim=1))
    mlp[2].bias.zero_()
    return mlp  # type: ignore[no-any-return]


def _embed_texts(texts: Iterable[str], language: TorchLanguage, table: Tensor) -> Tensor:
    """Return the mean token embedding of each text, of shape (texts, hidden)."""
    tokenizer = language.tokenizer
    ids = [tokenizer(" " + text, add_special_tokens=False).input_ids for text in texts]
    return torch.stack([table[row].mean(0) for row in ids])


def _center(rows: Tensor) -> Tensor:
    """Subtract the mean of all rows, which the bias of the projector takes over."""
    return rows - rows.mean(0)


def _fit_ridge(inputs: Tensor, outputs: Tensor) -> Tensor:
    """Return the coefficients (hidden, width) of a ridge regression (Hoerl and Kennard, 1970).

    The penalty is the one with the lowest leave-one-out error.

    Args:
        inputs: Centered features (pictures, width).
        outputs: Centered embeddings (pictures, hidden).
    """
    from sklearn.linear_model import RidgeCV

    if len(inputs) < 10:
        raise MmtuiError(
            f"{len(inputs)} pictures are too few for a ridge regression", "pass --init random"
        )
    model = RidgeCV(alphas=[10.0**power for power in range(-3, 7)])
    model.fit(inputs.numpy(), outputs.numpy())
    return torch.from_numpy(model.coef_).float()


def _load_concepts(spec: VisionSpec) -> tuple[Tensor, list[str]]:
    """Return directions (concepts, width) in the tower's feature space, and their names.

    The concepts are the classes of ImageNet. For a CLIP tower, their directions are computed by its
    text encoder; for a classifier, they are the weights of its last layer.

    Raises:
        MissingError: The tower has neither.
    """
    names = list_imagenet_classes()
    weights = fetch.fetch(spec.weights)
    if spec.architecture == "open_clip":
        return _encode_concepts(str(weights), names), names
    try:
        classifier = load_classifier(weights, spec.names)
    except InputError as error:
        raise MissingError(
            "this tower's classifier does not have the classes of ImageNet", "pass --init ridge"
        ) from error
    classes = torch.from_numpy(classifier.weight)
    return _center(classes), names


def _encode_concepts(folder: str, names: list[str]) -> Tensor:
    """Encode names with a CLIP text encoder, and map them back to the tower's feature space."""
    import open_clip

    try:
        model: Any = open_clip.create_model(f"local-dir:{folder}")
        tokenizer: Any = open_clip.get_tokenizer(f"local-dir:{folder}")
        texts = tokenizer([f"a photo of a {name}" for name in names])
        encoded = nn.functional.normalize(model.encode_text(texts), dim=1)
        projection: Tensor = model.visual.proj  # (width, embedding)
    except (AttributeError, RuntimeError, IndexError, OSError, ValueError) as error:
        raise MissingError(
            f"the text encoder of this CLIP model can't be used: {error}", "pass --init ridge"
        ) from error
    return _center(encoded) @ projection.T
