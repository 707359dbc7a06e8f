"""`hf:` assets: repositories in the Hugging Face cache, which other tools share."""

import json
from pathlib import Path

from mmtui.errors import MissingError


def locate(repository: str, only: tuple[str, ...]) -> Path | None:
    """The newest local snapshot, if it is whole. Never uses the network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repository, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return folder if _is_whole(folder, only) else None


def fetch(repository: str, only: tuple[str, ...]) -> Path:
    """Fetches the files that match the patterns `only`. Raises MissingError."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )
    from requests import RequestException

    try:
        folder = Path(snapshot_download(repository, allow_patterns=list(only)))
    except GatedRepoError as error:
        raise MissingError(
            f"hf:{repository} asks for an accepted licence", "accept it on its page, then log in"
        ) from error
    except RepositoryNotFoundError as error:
        raise MissingError(f"the hub has no model {repository}", "check the name") from error
    except HFValidationError as error:
        raise MissingError(f"hf:{repository} names no repository", "hf:OWNER/NAME") from error
    except (LocalEntryNotFoundError, RequestException) as error:
        raise MissingError(
            f"hf:{repository} is not on this machine, and its hub can't be reached",
            "try again with a network (and without HF_HUB_OFFLINE), or use --model smol",
        ) from error
    if not _is_whole(folder, only):
        raise MissingError(
            f"hf:{repository} is not whole, or has no weights in safetensors form",
            "fetch it again with a network; pickled weights are never loaded",
        )
    return folder


def _is_whole(folder: Path, only: tuple[str, ...]) -> bool:
    """Whether the weights are there: a file for each pattern of them, each shard of an index."""
    weights = [pattern for pattern in only if pattern.endswith((".safetensors", ".bin"))]
    if not all(any(folder.glob(pattern)) for pattern in weights):
        return False
    for index in folder.glob("*.index.json"):
        try:
            shards = set(json.loads(index.read_bytes())["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
        if not all((folder / shard).exists() for shard in shards):
            return False
    return True
