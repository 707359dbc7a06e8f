"""The files of a GGUF model: its shards, and the mmproj beside them that lets it see."""

from dataclasses import dataclass, replace
from pathlib import Path

from mmtui.errors import InputError, MissingError, MmtuiError, UsageError
from mmtui.paths import resolve
from mmtui.pipeline.assets import hub_gguf, mmproj, stores
from mmtui.pipeline.assets.gguf_header import MAGIC, Header, read_header
from mmtui.pipeline.assets.shards import find_shards, get_model_name
from mmtui.pipeline.assets.spec import Asset

SUFFIX = ".gguf"
_USUAL_SIDE = 336  # pixels; assumed until an mmproj is downloaded
_ASK_OLLAMA = "use a GGUF with an mmproj of the same model, or ask Ollama by --endpoint"
MMPROJ_OPTION = " --mmproj "  # between two files, in the name of a model


@dataclass(frozen=True)
class GgufFiles:
    """The files of a GGUF model, which llama.cpp runs unchanged.

    Attributes:
        name: The name of the model.
        shards: The file, or all files of a model that is split, in order.
        mmproj: The file with the vision tower; None if there is none.
        picture_side: Width and height in pixels of what the tower sees; 0 without a tower.
        can_hear: Whether the mmproj has an audio tower.
        audio_tower: The file with the audio tower; None if there is none.
        download: The files in a repository of the Hugging Face hub; then the paths are relative to
            the folder that they are downloaded to. None for files on this machine.
    """

    name: str
    shards: tuple[Path, ...]
    mmproj: Path | None = None
    picture_side: int = 0
    can_hear: bool = False
    audio_tower: Path | None = None
    download: Asset | None = None


def add_mmproj(model: str, file: str | Path) -> str:
    """Return the name of a GGUF model with the mmproj that it uses.

    Raises:
        UsageError: No model is named.
    """
    if model == "auto":
        raise UsageError("--mmproj needs --model", "--model MODEL.gguf --mmproj FILE")
    return f"{model}{MMPROJ_OPTION}{file}"


def find(model: str) -> GgufFiles | None:
    """Find the files of a GGUF that `--model` names.

    Args:
        model: The name of a file, "ollama:NAME:TAG" or "hf:OWNER/NAME:QUANTIZATION"; " --mmproj "
            and the name of another file can follow.

    Returns:
        The files, or None if this is not the path of a GGUF.

    Raises:
        MissingError: A file or a shard does not exist.
        InputError: A file is not a GGUF, or is damaged, or the mmproj is for another model.
        UsageError: There is an mmproj for a model that is no GGUF.
    """
    name, has_option, chosen = model.partition(MMPROJ_OPTION)
    projector: Path | None = None
    if name.startswith("hf:"):
        return _find_on_hub(name, resolve(chosen) if has_option else None)
    if name.startswith("ollama:"):
        file: Path | None
        file, projector = stores.find_in_ollama(name.removeprefix(stores.OLLAMA_PREFIX))
        if not _is_gguf(file):
            raise InputError(f"{name} is not a GGUF, so only Ollama can read it", _ASK_OLLAMA)
    else:
        file = _resolve(name)
    if file is None or not _is_gguf(file):
        if has_option:
            raise UsageError(f"--mmproj needs a GGUF file as the model; {name} is not one")
        return None
    if not file.exists():
        raise MissingError(f"no such file: {file}", "check the name")
    shards = find_shards(file)
    header = read_header(shards[0])
    if mmproj.is_mmproj(header):
        raise InputError(
            f"{file} is the vision tower of a model, not a model",
            f"--model MODEL.gguf --mmproj {file.name}",
        )
    _check_tensors(name, header)
    if has_option:
        projector = resolve(chosen)
    if projector is not None:
        tower: Header | None = mmproj.read_mmproj(projector, header)
    else:
        tower = mmproj.find_mmproj(header)
    is_path = not name.startswith("ollama:")
    return _add_tower(
        GgufFiles(get_model_name(file.name) if is_path else name, tuple(shards)), tower
    )


def explain_blindness(files: GgufFiles) -> MissingError:
    """Return the error for a picture if no mmproj of a model was found."""
    hint = "download its mmproj into the same folder, or pass --mmproj FILE"
    if files.download is None:
        candidates = filter(mmproj.can_see, mmproj.find_candidates(read_header(files.shards[0])))
        if names := ", ".join(header.path.name for header in candidates):
            hint = (
                f"these are beside it, but are named after other models: {names};"
                " --mmproj FILE uses one of them"
            )
    return MissingError(f"{files.name} can't see: no mmproj of this model is beside it", hint)


def may_hear(model: str) -> bool:
    """Return whether a model is a GGUF with an audio tower, or may be one once it is downloaded."""
    try:
        files = find(model)
    except MmtuiError:  # reported when the model is loaded
        return False
    is_unknown = files is not None and files.download is not None and files.mmproj is not None
    return files is not None and (files.can_hear or is_unknown)


def get_model(files: GgufFiles) -> str:
    """Return what `find` takes to find these files again."""
    is_path = not files.name.startswith(("hf:", "ollama:"))
    model = str(files.shards[0].absolute()) if is_path else files.name
    chosen = files.mmproj if files.download is None else None
    return model if chosen is None else add_mmproj(model, chosen.absolute())


def locate(files: GgufFiles, folder: Path) -> GgufFiles:
    """Return the files of a model with absolute paths.

    Args:
        files: The files, which may be those of a repository.
        folder: The folder that a repository was downloaded to.

    Raises:
        InputError: A file is not a GGUF, or is damaged, or the mmproj is for another model.
    """
    if files.download is None:
        return files
    path = str(folder / files.shards[0])
    found = find(path if files.mmproj is None else add_mmproj(path, folder / files.mmproj))
    if found is None:
        raise InputError(f"{path} is not a GGUF", "choose another file of the repository")
    return replace(found, name=files.name)


def _find_on_hub(name: str, tower: Path | None) -> GgufFiles | None:
    if (found := hub_gguf.find(name)) is None:
        if tower is not None:
            raise UsageError(f"--mmproj needs a GGUF file as the model; {name} is not one")
        return None
    if tower is None and found.mmproj is not None:
        tower = Path(found.mmproj)
    files = GgufFiles(
        name=name,
        shards=tuple(map(Path, found.files)),
        mmproj=tower,
        picture_side=_USUAL_SIDE if tower else 0,
        download=found.asset,
    )
    if found.folder is None:
        return files
    return replace(locate(files, found.folder), download=None)


def _check_tensors(name: str, header: Header) -> None:
    """Check that a model is not one in the form that only Ollama reads.

    Raises:
        InputError: It has a vision tower itself.
    """
    if any(tensor.startswith("v.") for tensor in header.tensors):
        raise InputError(
            f"{name} has its vision tower in the same file, which only Ollama can read",
            _ASK_OLLAMA,
        )


def _add_tower(files: GgufFiles, tower: Header | None) -> GgufFiles:
    if tower is None:
        return files
    sees = mmproj.can_see(tower)
    return replace(
        files,
        mmproj=tower.path if sees else None,
        picture_side=max(1, tower.get_number("clip.vision.image_size")) if sees else 0,
        can_hear=mmproj.can_hear(tower),
        audio_tower=tower.path if mmproj.can_hear(tower) else None,
    )


def _resolve(name: str) -> Path | None:
    """Resolve a path; return None if the name is not a path."""
    try:
        return resolve(name)
    except (OSError, ValueError, MmtuiError):  # not a path: too long, a NUL, a URL
        return None


def _is_gguf(file: Path) -> bool:
    """Return whether a file is a GGUF, by its name or its first bytes."""
    try:
        if file.suffix.lower() == SUFFIX:
            return not file.is_dir()
        if not file.is_file():
            return False
        with file.open("rb") as opened:
            return opened.read(len(MAGIC)) == MAGIC
    except OSError:
        return False
