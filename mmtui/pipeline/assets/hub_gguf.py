"""GGUF models in repositories of the Hugging Face hub: which files to download."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from mmtui.errors import MissingError, UsageError
from mmtui.pipeline.assets import hub, mmproj, stores
from mmtui.pipeline.assets.shards import get_model_name, is_first_shard, list_shard_names
from mmtui.pipeline.assets.spec import Asset

DEFAULT_QUANTIZATION = "Q4_K_M"
_NAME = re.compile(r"hf:(?P<repository>[\w.-]+/[\w.-]+?)(?::(?P<choice>[\w.+-]+))?")
_SAFE_FILE = re.compile(r"[\w.+-]+(/[\w.+-]+)*")  # no pattern, and no path out of the folder


@dataclass(frozen=True)
class HubGguf:
    """The files of a model in a repository.

    Attributes:
        name: The name of the model.
        asset: The files to download.
        files: The paths of the file, or of all files of a model that is split, in order.
        mmproj: The path of its vision or audio tower; None if there is none.
        folder: The folder with these files; None if they must be downloaded.
    """

    name: str
    asset: Asset
    files: tuple[str, ...]
    mmproj: str | None
    folder: Path | None = None


def find(model: str) -> HubGguf | None:
    """Find the files of a GGUF that `--model` names. Those on this machine are preferred.

    Args:
        model: `hf:OWNER/NAME`, `hf:OWNER/NAME:QUANTIZATION` or `hf:OWNER/NAME:FILE`.

    Returns:
        None if this is another name, or that of a repository of another kind.

    Raises:
        UsageError: The repository has no such file, or several of which one must be chosen.
        MissingError: The hub can't be reached, or has no such repository.
    """
    if (name := _NAME.fullmatch(model)) is None:
        return None
    repository, choice = name["repository"], name["choice"] or ""
    local = _list_local(repository)
    has_ggufs = bool(local) and not _has_config(repository)
    if not choice and "gguf" not in repository.casefold() and not has_ggufs:
        return None
    if (found := _choose(model, local, choice or DEFAULT_QUANTIZATION)) is not None:
        return replace(found, folder=_find_snapshot(repository))
    try:
        remote = hub.list_files(repository)
    except MissingError:
        only = _list_models(local)
        if not choice and len(only) == 1:
            return replace(_make(model, local, only[0]), folder=_find_snapshot(repository))
        raise
    if (found := _choose(model, remote, choice or DEFAULT_QUANTIZATION)) is not None:
        return found
    known = _list_models(remote)
    if not choice and len(known) == 1:
        return _make(model, remote, known[0])
    if not known:
        raise UsageError(f"hf:{repository} has no GGUF files", f"--model hf:{repository}")
    what = f"no {choice}" if choice else f"no {DEFAULT_QUANTIZATION}, so one must be chosen"
    raise UsageError(
        f"hf:{repository} has {what}",
        f"--model hf:{repository}:FILE, where FILE or its quantization is one of"
        f" {', '.join(PurePosixPath(file).name for file in known)}",
    )


def _list_local(repository: str) -> dict[str, int]:
    """Return the GGUFs of a repository that are on this machine, with their sizes."""
    if (folder := _find_snapshot(repository)) is None:
        return {}
    return {
        file.relative_to(folder).as_posix(): file.stat().st_size
        for file in stores.list_ggufs(folder)
        if file.exists()
    }


def _has_config(repository: str) -> bool:
    folder = _find_snapshot(repository)
    return folder is not None and (folder / "config.json").exists()


def _find_snapshot(repository: str) -> Path | None:
    cache = stores.find_hugging_face_cache()
    return stores.find_snapshot(cache / f"models--{repository.replace('/', '--')}")


def _choose(model: str, files: Mapping[str, int], choice: str) -> HubGguf | None:
    """Return the model with this quantization or file name, or None if there is not one.

    Raises:
        UsageError: There are several.
    """
    matching = [file for file in _list_models(files) if _is_choice(choice, file)]
    if len(matching) > 1:  # Unsloth publishes "x-UD-IQ4_XS.gguf" beside "x-IQ4_XS.gguf"
        static = [file for file in matching if "-UD-" not in file]
        matching = static if len(static) == 1 else matching
    if len(matching) > 1:
        raise UsageError(
            f"{model} names several files: {', '.join(matching)}", "choose one: hf:OWNER/NAME:FILE"
        )
    return _make(model, files, matching[0]) if matching else None


def _is_choice(choice: str, file: str) -> bool:
    """Return whether a choice is the name of a file, its quantization, or the end of its name.

    The end of a name is what other programs take: "UD-Q4_K_XL", "i1-Q4_K_M", "fp16", "int4".
    """
    name = PurePosixPath(file).name
    model, wanted = get_model_name(name).casefold(), choice.casefold()
    return (
        choice == name
        or wanted == stores.read_quantization(file).casefold()
        or (model.endswith(wanted) and not model.removesuffix(wanted)[-1:].isalnum())
    )


def _list_models(files: Mapping[str, int]) -> list[str]:
    """Return the models among files: of those that are split and complete, the first file."""
    return [
        file
        for file in sorted(files)
        if file.lower().endswith(".gguf")
        and _SAFE_FILE.fullmatch(file)
        and ".." not in file.split("/")
        and not stores.is_beside_model(PurePosixPath(file).name)
        and is_first_shard(file)
        and set(list_shard_names(file)) <= set(files)
    ]


def _make(model: str, files: Mapping[str, int], file: str) -> HubGguf:
    shards = list_shard_names(file)
    folders = {"", file.rpartition("/")[0]}
    towers = [
        name
        for name in files
        if "mmproj" in PurePosixPath(name).name.lower()
        and name.rpartition("/")[0] in folders
        and _SAFE_FILE.fullmatch(name)
    ]
    tower = min(towers, key=mmproj.get_priority, default=None)
    only = (*shards, *([tower] if tower else []))
    repository, _, _ = model.removeprefix("hf:").partition(":")
    size = sum(files[name] for name in only)
    return HubGguf(model, Asset(f"hf:{repository}", only=only, download=size), shards, tower)
