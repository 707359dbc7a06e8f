"""The files of a split GGUF: "model-00001-of-00003.gguf"."""

import re
from pathlib import Path

from mmtui.errors import MissingError

_SHARD = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.gguf)", re.I)
_MAX_SHARDS = 1000


def get_model_name(file: str) -> str:
    """Return the name of a model by the name of one of its files."""
    shard = _SHARD.fullmatch(file)
    return shard["name"] if shard else re.sub(r"\.gguf$", "", file, flags=re.I)


def is_first_shard(file: str) -> bool:
    """Return whether a name is that of a whole model, or of its first file."""
    shard = _SHARD.fullmatch(file)
    return shard is None or int(shard["number"]) == 1


def list_shard_names(file: str) -> tuple[str, ...]:
    """Return the names of all files of a model by the name of one of them, in order."""
    if (shard := _SHARD.fullmatch(file)) is None:
        return (file,)
    count = min(int(shard["count"]), _MAX_SHARDS)
    return tuple(
        f"{shard['name']}-{number:05}-of-{shard['count']}{shard['suffix']}"
        for number in range(1, count + 1)
    )


def find_shards(file: Path) -> list[Path]:
    """Return all files of a model by one of them, in order.

    Raises:
        MissingError: A shard does not exist.
    """
    shards = [file.with_name(name) for name in list_shard_names(file.name)]
    missing = [shard for shard in shards if not shard.exists()]
    if (missing and len(shards) > 1) or not shards:
        raise MissingError(
            f"{(missing or [file])[0]} is missing: the model is split into {len(shards)} files",
            f"download all files of {get_model_name(file.name)} into one folder",
        )
    return shards
