"""Load the components of a model that is trained or evaluated."""

from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import psutil
import torch

from mmtrain.data.features import FeatureStore
from mmtrain.model.generation import AnswerGenerator
from mmtrain.options import Precision
from mmtui.compat.torch_hooks import supports_bf16_on_cpu
from mmtui.errors import MissingError, UsageError
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets import spec as specs
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.assets.file_names import WEIGHTS_PATTERN
from mmtui.pipeline.assets.spec import VisionSpec
from mmtui.pipeline.engines import loading
from mmtui.pipeline.engines import torch_language as language
from mmtui.pipeline.engines.llama_language import LlamaLanguage
from mmtui.pipeline.engines.loading import fetch_for_torch
from mmtui.pipeline.engines.torch_language import TorchLanguage
from mmtui.pipeline.prompt import ChatFormat
from mmtui.pipeline.vision import onnx_export, projector
from mmtui.pipeline.vision.loading import runs_on_onnx
from mmtui.pipeline.vision.onnx_encoder import OnnxTower
from mmtui.pipeline.vision.projector import Projector
from mmtui.pipeline.vision.tower import VisionTower


@dataclass
class Components:
    """The loaded components of a checkpoint, all frozen until a stage unfreezes some.

    Attributes:
        checkpoint: Where the components come from.
        language: The language model with its tokenizer.
        chat: The chat template of the language model.
        vision: The description of the vision tower; None for a model of text alone.
        store: The patch features of pictures; None for a model of text alone.
    """

    checkpoint: Checkpoint
    language: TorchLanguage
    chat: ChatFormat
    vision: VisionSpec | None
    store: FeatureStore | None

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (patches, width) of a picture's features; (0, 0) without a vision tower."""
        return (self.vision.patches, self.vision.width) if self.vision else (0, 0)


def find_checkpoint(model: str) -> Checkpoint:
    """Find the model to train by the name of a preset or the path of a checkpoint.

    "auto" is phi2 if its weights are downloaded and there is a GPU, else smol.

    Raises:
        UsageError: It is a GGUF file.
    """
    if model != "auto":
        found = checkpoint.find(model)
        if found.gguf is not None:
            raise UsageError(
                f"mmtrain can't use {found.gguf.shards[0].name}: a GGUF can't be trained",
                "use the checkpoint that it was made from",
            )
        return found
    phi2 = checkpoint.find("phi2")
    is_downloaded = all(
        fetch.locate(asset) for role, asset in phi2.spec.assets.items() if role != "speech"
    )
    return phi2 if is_downloaded and torch.cuda.is_available() else checkpoint.find("smol")


def load_components(
    found: Checkpoint,
    precision: specs.Precision,
    device: torch.device,
    report: Report,
    *,
    merge_adapter: bool = True,
) -> Components:
    """Load the components of a checkpoint.

    The vision tower is loaded later, when the features of a picture are missing in the store.

    Args:
        found: The checkpoint.
        precision: How the weights of the language model are stored.
        device: Where the components are put.
        report: Called with the progress of downloads.
        merge_adapter: Merge the checkpoint's adapter, if it has one, into the language model.
    """
    model = language.load(
        fetch_for_torch(found.spec.language.weights, report),
        part=found.spec.language.weights.part,
        precision=precision,
        adapter=found.adapter if merge_adapter else None,
        device=device,
        report=report,
    )
    vision = found.spec.vision
    store = _make_store(vision, device, report) if vision else None
    chat = ChatFormat(model.tokenizer, found.spec.language.prompt)
    return Components(found, model, chat, vision, store)


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """Return the precision to train in: for "auto", bf16 if the device supports it, else fp32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and supports_bf16_on_cpu() else "fp32"


def select_scoring_precision(found: Checkpoint, report: Report) -> specs.Precision:
    """Return the precision to evaluate a model in.

    It is fp32 if that takes less than 60 % of the free memory, because scores in bf16 depend a
    little on the batch size.
    """
    if found.spec.language.precision != "auto":
        return found.spec.language.precision
    weights = fetch_for_torch(found.spec.language.weights, report)
    size = sum(file.stat().st_size for file in weights.glob(WEIGHTS_PATTERN))
    if torch.cuda.is_available():
        return "fp32" if 2 * size < 0.6 * torch.cuda.mem_get_info()[0] else "auto"
    return "fp32" if 2 * size < 0.6 * psutil.virtual_memory().available else "auto"


def load_for_scoring(found: Checkpoint, report: Report) -> Components:
    """Load a model to evaluate, on the GPU if there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return load_components(found, select_scoring_precision(found, report), device, report)


def load_llamacpp(found: Checkpoint, report: Report) -> LlamaLanguage:
    """Load a language model into llama.cpp, quantized, to evaluate it as it is used in chats."""
    return loading.load_llama_language(
        fetch.fetch(found.spec.language.weights, report),
        precision=found.spec.language.precision,
        adapter=found.adapter,
        report=report,
    )


def find_vision_checkpoint(model: str) -> Checkpoint:
    """Find a model to evaluate on pictures.

    Raises:
        MissingError: The model has no vision tower or no trained projector.
    """
    found = checkpoint.find(model)
    found.require_vision()
    return found


def load_generator(
    found: Checkpoint, store: FeatureStore, report: Report
) -> tuple[Components, AnswerGenerator]:
    """Load a vision-language model, and the generator of its answers about pictures in `store`."""
    components = load_for_scoring(found, report)
    components.store = store
    assert components.vision
    language_model = components.language
    trained = load_projector(components, report)
    assert trained is not None
    trained.to(language_model.device)
    patches, _ = components.shape
    return components, AnswerGenerator(language_model, trained, components.chat, store, patches)


def load_projector(components: Components, report: Report = ignore_progress) -> Projector | None:
    """Load the trained projector of a checkpoint in fp32, or return None if it has none."""
    found, weights = components.checkpoint, components.checkpoint.projector_weights
    if weights is None or components.vision is None:
        return None
    return projector.load(
        fetch.fetch(weights, report),
        components.vision.width,
        components.language.hidden_size,
        activation=found.spec.projector.activation,
        part=weights.part,
    )


def load_tokenizer(found: Checkpoint, report: Report) -> Any:
    """Load the tokenizer of a checkpoint, without its weights."""
    return language.load_tokenizer(fetch_for_torch(found.spec.language.weights, report))


def require_vision(found: Checkpoint) -> VisionSpec:
    """Return the description of a checkpoint's vision tower.

    Raises:
        MissingError: The checkpoint has none.
    """
    if found.spec.vision is None:
        raise MissingError(
            f"{found.spec.name} has no vision tower", "pass --model smol or --model phi2"
        )
    return found.spec.vision


def load_feature_store(found: Checkpoint, report: Report) -> FeatureStore:
    """Load the feature store of a checkpoint, without its language model."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return _make_store(require_vision(found), device, report)


def _make_store(vision: VisionSpec, device: torch.device, report: Report) -> FeatureStore:
    @cache
    def load_tower() -> VisionTower | OnnxTower:
        weights = fetch.fetch(vision.weights, report)
        # The tower is not always loaded, and creating it draws random numbers.
        with torch.random.fork_rng():
            if device.type == "cpu" and runs_on_onnx(vision):  # ten times faster than torch
                with suppress(onnx_export.ExportError):
                    return OnnxTower(vision, onnx_export.export(vision, weights, None))
            return VisionTower(vision, weights).to(device)

    return FeatureStore(vision, load_tower, report)
