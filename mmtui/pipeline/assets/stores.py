"""GGUF models that other programs have stored on this machine.

Ollama, LM Studio, Hugging Face's hub client and llama.cpp each have a folder. What is in them is
other programs' data: it is read with limits, and what is unexpected is left out.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmtui.errors import InputError, MissingError, UsageError
from mmtui.pipeline.assets import mmproj
from mmtui.pipeline.assets.gguf_header import Header, read_header
from mmtui.pipeline.assets.shards import find_shards

OLLAMA_PREFIX = "ollama:"
_MAX_JSON_BYTES = 1_000_000
_MAX_FILES = 2000  # of a store that are looked at
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_NAME_PART = re.compile(r"\w[\w.-]{0,127}")
_REGISTRY, _NAMESPACE, _TAG = "registry.ollama.ai", "library", "latest"
_MODEL_LAYER = "application/vnd.ollama.image.model"
_PROJECTOR_LAYER = "application/vnd.ollama.image.projector"
_QUANTIZATION = re.compile(
    r"(?<![a-z0-9])(I?Q\d(?:_[A-Z0-9]+)*|TQ\d_0|MXFP4(?:_MOE)?|BF16|FP?16|FP?32)(?![a-z0-9])", re.I
)


@dataclass(frozen=True)
class StoredModel:
    """A model in the store of another program.

    Attributes:
        name: What `--model` takes.
        store: The program, such as "Ollama".
        files: The file, or all files of a model that is split.
        quantization: As llama.cpp names it, such as "Q4_K_M"; "" if it is not known.
        mmproj: The file with its vision or audio tower; None if there is none.
        can_see: Whether this file has a vision tower.
        can_hear: Whether this file has an audio tower.
    """

    name: str
    store: str
    files: tuple[Path, ...]
    quantization: str
    mmproj: Path | None = None
    can_see: bool = False
    can_hear: bool = False

    @property
    def size(self) -> int:
        """The bytes of all files."""
        towers = [self.mmproj] if self.mmproj else []
        return sum(file.stat().st_size for file in [*self.files, *towers])


def list_stored_models() -> list[StoredModel]:
    """List the models of all stores, sorted by name."""
    stores = (_list_ollama, _list_lm_studio, _list_hugging_face, _list_llamacpp)
    models: list[StoredModel] = []
    for list_store in stores:
        try:
            models += list_store()
        except OSError:  # a folder that can't be read, or was removed meanwhile
            continue
    return sorted(models, key=lambda model: model.name.casefold())


def find_in_ollama(name: str) -> tuple[Path, Path | None]:
    """Return the files of a model that Ollama has pulled.

    Args:
        name: As Ollama writes it: "llava", "llava:7b", "user/model:tag", "hf.co/owner/name:tag".

    Returns:
        The model and its projector, or None if it has none.

    Raises:
        UsageError: This is no name of a model.
        MissingError: Ollama has not pulled it.
    """
    path, _, tag = name.partition(":")
    parts = [*path.split("/"), tag or _TAG]
    if len(parts) not in (2, 3, 4) or not all(map(_NAME_PART.fullmatch, parts)):
        raise UsageError(f"{name!r} is no name of a model of Ollama", "ollama:NAME:TAG")
    parts = [*(_REGISTRY, _NAMESPACE)[: 4 - len(parts)], *parts]
    for root in _find_ollama_folders():
        if (layers := _read_manifest(root, root.joinpath("manifests", *parts))) is not None:
            return layers
    known = ", ".join(sorted(model.name for model in _list_ollama())) or "none"
    raise MissingError(f"Ollama has no model {name} here", f"ollama pull {name}; here: {known}")


def _find_ollama_folders() -> list[Path]:
    if chosen := os.environ.get("OLLAMA_MODELS"):
        folders = [Path(chosen).expanduser()]
    else:
        service = Path("/usr/share/ollama/.ollama/models")  # of its service on Linux
        folders = [Path.home() / ".ollama" / "models", service]
    return [folder for folder in folders if _is_folder(folder / "manifests")]


def _list_ollama() -> Iterator[StoredModel]:
    for root in _find_ollama_folders():
        for manifest in _limit(root.glob("manifests/*/*/*/*")):
            parts = manifest.relative_to(root / "manifests").parts
            if not all(map(_NAME_PART.fullmatch, parts)):
                continue
            if (layers := _read_manifest(root, manifest)) is None:
                continue
            registry, namespace, model, tag = parts
            if registry != _REGISTRY:
                model = f"{registry}/{namespace}/{model}"
            elif namespace != _NAMESPACE:
                model = f"{namespace}/{model}"
            yield from _describe(f"{OLLAMA_PREFIX}{model}:{tag}", "Ollama", *layers)


def _read_manifest(root: Path, manifest: Path) -> tuple[Path, Path | None] | None:
    """Return the model and the projector that a manifest names, or None without a model."""
    layers = _read_json(manifest).get("layers")
    blobs: dict[str, Path] = {}
    for layer in layers if isinstance(layers, list) else []:
        if not isinstance(layer, dict):
            continue
        digest = _DIGEST.fullmatch(str(layer.get("digest")))
        if digest is None:
            continue
        blob = root / "blobs" / f"sha256-{digest[1]}"
        if _is_file(blob):
            blobs.setdefault(str(layer.get("mediaType")), blob)
    if _MODEL_LAYER not in blobs:
        return None
    return blobs[_MODEL_LAYER], blobs.get(_PROJECTOR_LAYER)


def _list_lm_studio() -> Iterator[StoredModel]:
    home = Path.home()
    for root in (home / ".lmstudio" / "models", home / ".cache" / "lm-studio" / "models"):
        if _is_folder(root):
            for file in _limit(root.glob("*/*/*.gguf")):
                yield from _describe(shorten_path(file), "LM Studio", file)


def _list_hugging_face() -> Iterator[StoredModel]:
    root = find_hugging_face_cache()
    if not _is_folder(root):
        return
    for folder in _limit(root.glob("models--*--*")):
        repository = folder.name.removeprefix("models--").replace("--", "/", 1)
        if (snapshot := find_snapshot(folder)) is None:
            continue
        models = [
            model
            for file in list_ggufs(snapshot)
            for model in _describe(shorten_path(file), "Hugging Face", file)
        ]
        kinds = [model.quantization for model in models]
        for model in models:
            is_only = kinds.count(model.quantization) == 1
            named = is_only and model.quantization == read_quantization(model.files[0].name)
            yield replace(model, name=f"hf:{repository}:{model.quantization}") if named else model


def find_hugging_face_cache() -> Path:
    """Return the cache of Hugging Face's hub client, without importing that."""
    if chosen := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(chosen).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return _find_cache_home() / "huggingface" / "hub"


def find_snapshot(repository: Path) -> Path | None:
    """Return the folder of the newest revision of a repository in Hugging Face's cache."""
    try:
        revision = (repository / "refs" / "main").read_text(errors="replace")[:64].strip()
    except OSError:
        return None
    is_hash = re.fullmatch("[0-9a-f]+", revision)
    return repository / "snapshots" / revision if is_hash else None


def list_ggufs(snapshot: Path) -> list[Path]:
    """Return the GGUFs of a revision, sorted."""
    return sorted(_limit(snapshot.rglob("*.gguf")))


def _list_llamacpp() -> Iterator[StoredModel]:
    if chosen := os.environ.get("LLAMA_CACHE"):
        root = Path(chosen).expanduser()
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches" / "llama.cpp"
    else:
        root = _find_cache_home() / "llama.cpp"
    if _is_folder(root):
        for file in _limit(root.glob("*.gguf")):
            yield from _describe(shorten_path(file), "llama.cpp", file)


def _describe(
    name: str, store: str, file: Path, projector: Path | None = None
) -> Iterator[StoredModel]:
    """Describe a model by one of its files; yield nothing for other files and further shards."""
    try:
        shards = find_shards(file)
        if not _is_file(file) or shards[0] != file or is_beside_model(file.name):
            return
        tower = _find_tower(file, projector)
        quantization = get_quantization(file)
    except (InputError, MissingError, OSError):  # opening it reports what is wrong
        return
    yield StoredModel(
        name=name,
        store=store,
        files=tuple(shards),
        quantization=quantization,
        mmproj=tower.path if tower else None,
        can_see=tower is not None and mmproj.can_see(tower),
        can_hear=tower is not None and mmproj.can_hear(tower),
    )


def _find_tower(file: Path, projector: Path | None) -> Header | None:
    if projector is not None:
        return read_header(projector)
    # Reading the header of a model takes longer than listing its folder.
    names = os.listdir(file.parent)  # noqa: PTH208
    if not any("mmproj" in name.lower() for name in names):
        return None
    return mmproj.find_mmproj(read_header(file))


def get_quantization(file: Path) -> str:
    """Return the quantization of a GGUF by its name, or else by its header; "" if not known.

    Raises:
        InputError: The file is not a GGUF, or is damaged.
    """
    if found := read_quantization(file.name):
        return found
    from gguf import LlamaFileType

    number = read_header(file).values.get("general.file_type")
    try:
        kind = str(LlamaFileType(number).name)
    except ValueError:  # none, or one of a later llama.cpp
        return ""
    return kind.removeprefix("MOSTLY_").removeprefix("ALL_")


def read_quantization(name: str) -> str:
    """Return the quantization that the name of a file contains, such as "Q4_K_M", or ""."""
    found = _QUANTIZATION.findall(name)
    kind = str(found[-1]).upper() if found else ""
    return f"F{kind.removeprefix('FP')}" if kind.startswith("FP") else kind


def is_beside_model(name: str) -> bool:
    """Return whether a GGUF is no language model by its name, but a tower or an imatrix of one."""
    return any(word in name.casefold() for word in ("mmproj", "imatrix"))


def shorten_path(file: Path) -> str:
    """Return a path with `~` for the home folder."""
    try:
        return f"~/{file.relative_to(Path.home()).as_posix()}"
    except ValueError:
        return str(file)


def _find_cache_home() -> Path:
    chosen = os.environ.get("XDG_CACHE_HOME")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache"


def _read_json(file: Path) -> dict[str, Any]:
    """Return a small JSON object, or an empty one if there is no such thing."""
    try:
        if not file.is_file() or file.stat().st_size > _MAX_JSON_BYTES:
            return {}
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _limit(files: Iterable[Path]) -> Iterator[Path]:
    for number, file in enumerate(files):
        if number == _MAX_FILES:
            return
        yield file


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
