"""The frozen parts that a stage is built on: language model, tower, chat format, features."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import psutil
import torch

from mmtrain.data.features import FeatureStore
from mmtrain.model.generation import Answerer
from mmtrain.options import Precision
from mmtui.errors import MissingError
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets import spec as specs
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.assets.spec import VisionSpec
from mmtui.pipeline.assistant import Assistant, prepare
from mmtui.pipeline.engines import selection
from mmtui.pipeline.engines import torch_language as language
from mmtui.pipeline.engines.llamacpp_engine import LlamaModel
from mmtui.pipeline.engines.torch_language import LanguageModel
from mmtui.pipeline.prompt import ChatFormat
from mmtui.pipeline.vision import projector
from mmtui.pipeline.vision.tower import VisionTower


@dataclass
class Parts:
    """A checkpoint's parts, loaded; nothing of them is trained unless a stage says so."""

    checkpoint: Checkpoint
    language: LanguageModel
    chat: ChatFormat
    vision: VisionSpec | None
    store: FeatureStore | None

    @property
    def shape(self) -> tuple[int, int]:
        """(patches, width) of a picture's features."""
        return (self.vision.patches, self.vision.width) if self.vision else (0, 0)


def find(model: str) -> Checkpoint:
    """What to train: as mmtui's, but `auto` is phi2 where its weights and a GPU are, else smol."""
    if model != "auto":
        return checkpoint.find(model)
    phi2 = checkpoint.find("phi2")
    here = all(fetch.locate(asset) for role, asset in phi2.spec.assets.items() if role != "speech")
    return phi2 if here and torch.cuda.is_available() else checkpoint.find("smol")


def load(
    found: Checkpoint,
    precision: specs.Precision,
    device: torch.device,
    report: Report,
    *,
    adapted: bool = True,
) -> Parts:
    """The tower is loaded when features are missing. `adapted`: with the adapter merged in."""
    model = language.load(
        prepare(found.spec.language.weights, report),
        precision=precision,
        adapter=found.adapter if adapted else None,
        device=device,
        report=report,
    )
    vision = found.spec.vision
    store = _store(vision, device, report) if vision else None
    return Parts(found, model, ChatFormat(model.tokenizer), vision, store)


def training_precision(wanted: Precision, device: torch.device) -> Precision:
    """bf16 where the device computes in it, else fp32."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    mkldnn: Any = torch.backends.mkldnn
    on_cpu = device.type == "cpu" and mkldnn.is_available()
    return "bf16" if on_cpu and torch.ops.mkldnn._is_mkldnn_bf16_supported() else "fp32"


def scoring_precision(found: Checkpoint, report: Report) -> specs.Precision:
    """fp32 where it fits, so that scores do not depend on how questions are batched."""
    if found.spec.language.precision != "auto":
        return found.spec.language.precision
    weights = prepare(found.spec.language.weights, report)
    size = sum(file.stat().st_size for file in weights.glob("model*.safetensors"))
    if torch.cuda.is_available():
        return "fp32" if 2 * size < 0.6 * torch.cuda.mem_get_info()[0] else "auto"
    return "fp32" if 2 * size < 0.6 * psutil.virtual_memory().available else "auto"


def to_score(found: Checkpoint, report: Report) -> Parts:
    """A model to evaluate, on the best device."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return load(found, scoring_precision(found, report), device, report)


def quantized(found: Checkpoint, report: Report) -> LlamaModel:
    """A language model to evaluate as llama.cpp runs it."""
    return selection.load_llamacpp(
        fetch.fetch(found.spec.language.weights, report),
        precision=found.spec.language.precision,
        adapter=found.adapter,
        report=report,
    )


def find_seeing(model: str) -> Checkpoint:
    """A model to evaluate on pictures. Raises MissingError if it has not learnt to see."""
    found = checkpoint.find(model)
    Assistant(found).check_sight()
    return found


def load_answerer(found: Checkpoint, store: FeatureStore, report: Report) -> tuple[Parts, Answerer]:
    """The parts of a model that sees, and what answers questions about the pictures in `store`."""
    parts = to_score(found, report)
    parts.store = store
    assert parts.vision and parts.checkpoint.projector
    seeing = projector.load(parts.checkpoint.projector, parts.vision.width, parts.language.hidden)
    seeing.to(parts.language.device)
    return parts, Answerer(parts.language, seeing, parts.chat, parts.store, parts.shape[0])


def tokenizer_of(found: Checkpoint, report: Report) -> Any:
    """Its tokenizer alone."""
    return language.tokenizer_in(prepare(found.spec.language.weights, report))


def needs_sight(found: Checkpoint) -> VisionSpec:
    if found.spec.vision is None:
        raise MissingError(f"{found.spec.name} has no vision tower", "--model smol, or phi2")
    return found.spec.vision


def store_of(found: Checkpoint, report: Report) -> FeatureStore:
    """Its tower alone, to look at pictures on the best device."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return _store(needs_sight(found), device, report)


def _store(vision: VisionSpec, device: torch.device, report: Report) -> FeatureStore:
    @cache
    def tower() -> VisionTower:
        with torch.random.fork_rng():  # making it draws weights, and it is not always made
            return VisionTower(vision, fetch.fetch(vision.weights, report)).to(device)

    return FeatureStore(vision, tower, report)
