"""Assets from the Hugging Face Hub, in the cache that it shares with other programs."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mmtui.errors import InputError, MissingError, UsageError
from mmtui.files import read_json
from mmtui.pipeline.assets.spec import Pin

IsIntact = Callable[[Path, Pin], bool]  # whether a file has the pinned size and hash


def locate(repository: str, only: tuple[str, ...], is_intact: IsIntact) -> Path | None:
    """Return the newest local snapshot if it is complete and undamaged, else None.

    The network is never used.

    Args:
        repository: The repository, as in "owner/name".
        only: Patterns of the files that are needed; empty for all.
        is_intact: Checks a file against a pin.
    """
    folder = _find_snapshot(repository)
    if folder and _is_complete(folder, only) and _is_intact(folder, is_intact):
        return folder
    return None


def fetch(repository: str, only: tuple[str, ...], is_intact: IsIntact) -> Path:
    """Download a repository's top-level files and return their folder.

    Args:
        repository: The repository, as in "owner/name".
        only: Patterns of the files to download; empty for all.
        is_intact: Checks a file against a pin.

    Raises:
        MissingError: The repository can't be downloaded, or is damaged or incomplete.
        UsageError: The name is not valid.
    """
    from huggingface_hub import snapshot_download

    local = _find_snapshot(repository)
    is_damaged = local is not None and not _is_intact(local, is_intact)
    # Folders hold the same weights in other formats, unless a file in one is named.
    ignored = None if any("/" in pattern for pattern in only) else ["*/*"]
    with _explain_errors(repository):
        folder = Path(
            snapshot_download(
                repository,
                allow_patterns=list(only) or None,
                ignore_patterns=ignored,
                force_download=is_damaged,
            )
        )
    if not _is_complete(folder, only) or not _is_intact(folder, is_intact):
        raise MissingError(
            f"hf:{repository} is damaged, incomplete, or has no safetensors weights",
            "fetch it again with a network; pickled weights are never loaded",
        )
    return folder


def get_blobs_folder(repository: str) -> Path:
    """Return the folder of Hugging Face's cache that the files of a repository are written to."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE, f"models--{repository.replace('/', '--')}", "blobs")


def list_files(repository: str) -> dict[str, int]:
    """Return the files of a repository with their sizes in bytes, as the hub tells them.

    Raises:
        MissingError: The hub can't be reached, or has no such repository.
        UsageError: The name is not valid.
    """
    from huggingface_hub import HfApi

    with _explain_errors(repository):
        siblings = HfApi().model_info(repository, files_metadata=True).siblings or []
    return {file.rfilename: file.size or 0 for file in siblings}


@contextmanager
def _explain_errors(repository: str) -> Iterator[None]:
    """Turn the errors of the hub's client into errors for the user."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )
    from requests import RequestException

    try:
        yield
    except GatedRepoError as error:
        raise MissingError(
            f"hf:{repository} needs an accepted licence", "accept it on its page, then log in"
        ) from error
    except RepositoryNotFoundError as error:
        raise MissingError(f"the hub has no model {repository}", "check the name") from error
    except HFValidationError as error:
        raise UsageError(f"hf:{repository} is not a repository", "pass hf:OWNER/NAME") from error
    except (LocalEntryNotFoundError, RequestException, ConnectionError) as error:
        raise MissingError(
            f"hf:{repository} is not on this machine, and the hub can't be reached",
            "try again with a network (and without HF_HUB_OFFLINE), or use smol",
        ) from error


def fetch_settings(repository: str) -> Path | None:
    """Return a folder with the JSON files of a repository, and download them if needed.

    Returns:
        The folder, or None if the repository can't be reached or has no config.json.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    from requests import RequestException

    folder = _find_snapshot(repository)
    if folder is not None and (folder / "config.json").exists():
        return folder
    try:
        folder = Path(snapshot_download(repository, allow_patterns="*.json", ignore_patterns="*/*"))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RequestException):
        return None
    return folder if (folder / "config.json").exists() else None


def _find_snapshot(repository: str) -> Path | None:
    """Return the newest local snapshot of a repository, which may be incomplete."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def _is_complete(folder: Path, only: tuple[str, ...]) -> bool:
    """Return whether the named files, some weights of each pattern and all shards exist."""
    for pattern in only:
        needed = "*" not in pattern or pattern.endswith((".safetensors", ".bin"))
        if needed and not any(folder.glob(pattern)):
            return False
    for index in folder.glob("*.index.json"):
        try:
            shards = set(read_json(index)["weight_map"].values())
        except (InputError, KeyError, TypeError, AttributeError):
            return False
        if not all((folder / shard).exists() for shard in shards):
            return False
    return True


def _is_intact(folder: Path, is_intact: IsIntact) -> bool:
    """Check the large files, which are links to blobs named by their SHA-256."""
    blobs = {path.resolve() for path in folder.iterdir() if path.is_symlink()}
    hashed = [blob for blob in blobs if re.fullmatch("[0-9a-f]{64}", blob.name)]
    return all(
        blob.exists() and is_intact(blob, Pin(blob.name, blob.stat().st_size, blob.name))
        for blob in hashed
    )
