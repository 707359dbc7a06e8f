"""`hf:` assets: repositories in the Hugging Face cache, which other tools share."""

import re
from collections.abc import Callable
from pathlib import Path

from mmtui.errors import InputError, MissingError, UsageError
from mmtui.files import read_json
from mmtui.pipeline.assets.spec import Pin

Intact = Callable[[Path, Pin], bool]


def locate(repository: str, only: tuple[str, ...], intact: Intact) -> Path | None:
    """Return the newest local snapshot if it is complete and undamaged; never use the network."""
    folder = _snapshot(repository)
    return folder if folder and _is_whole(folder, only) and _is_intact(folder, intact) else None


def fetch(repository: str, only: tuple[str, ...], intact: Intact) -> Path:
    """Download a repository's top-level files and return their folder.

    Args:
        repository: As in "owner/name".
        only: Patterns of the files to download; empty for all.
        intact: Checks a file against a pin.

    Raises:
        MissingError: The repository can't be downloaded, or is damaged or incomplete.
        UsageError: The name is not valid.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )
    from requests import RequestException

    here = _snapshot(repository)
    damaged = here is not None and not _is_intact(here, intact)
    try:
        folder = Path(
            snapshot_download(
                repository,
                allow_patterns=list(only) or None,
                ignore_patterns=["*/*"],  # other forms of the same weights
                force_download=damaged,
            )
        )
    except GatedRepoError as error:
        raise MissingError(
            f"hf:{repository} asks for an accepted licence", "accept it on its page, then log in"
        ) from error
    except RepositoryNotFoundError as error:
        raise MissingError(f"the hub has no model {repository}", "check the name") from error
    except HFValidationError as error:
        raise UsageError(f"hf:{repository} names no repository", "hf:OWNER/NAME") from error
    except (LocalEntryNotFoundError, RequestException) as error:
        raise MissingError(
            f"hf:{repository} is not on this machine, and its hub can't be reached",
            "try again with a network (and without HF_HUB_OFFLINE), or use smol",
        ) from error
    if not _is_whole(folder, only) or not _is_intact(folder, intact):
        raise MissingError(
            f"hf:{repository} is damaged, not whole, or has no weights in safetensors form",
            "fetch it again with a network; pickled weights are never loaded",
        )
    return folder


def _snapshot(repository: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def _is_whole(folder: Path, only: tuple[str, ...]) -> bool:
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


def _is_intact(folder: Path, intact: Intact) -> bool:
    """Check the large files, which are links to blobs named by their SHA-256."""
    blobs = {path.resolve() for path in folder.iterdir() if path.is_symlink()}
    hashed = [blob for blob in blobs if re.fullmatch("[0-9a-f]{64}", blob.name)]
    return all(
        blob.exists() and intact(blob, Pin(blob.name, blob.stat().st_size, blob.name))
        for blob in hashed
    )
