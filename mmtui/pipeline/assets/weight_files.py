"""Tensors of a model in Hugging Face's layout, which may be split into several files."""

from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui import files
from mmtui.errors import InputError, MissingError
from mmtui.pipeline.assets.file_names import WEIGHTS_INDEX_FILE, WEIGHTS_PATTERN
from mmtui.pipeline.assets.spec import Part

if TYPE_CHECKING:
    import torch


class WeightFiles:
    """The tensors of a model, or of a part of one, by name. They are read one at a time."""

    def __init__(self, path: Path, part: Part | None = None) -> None:
        """List the tensors without reading them.

        Args:
            path: A folder in Hugging Face's layout, or a single safetensors file.
            part: The part of the model that is meant; None for all of it.

        Raises:
            InputError: There are no safetensors files, or one is damaged.
            MissingError: A file that the index names is missing.
        """
        self._path = path
        self._stored: dict[str, tuple[Path, str]] = {}  # name -> file, name in the file
        stored = _list_stored(path)
        for name, file in stored.items():
            if (local := _strip(name, part)) is not None:
                self._stored[local] = file, name
        if not self._stored:
            raise InputError(f"{path} has no tensors of this model")
        self._zeros = part.zeros if part else ()

    @property
    def names(self) -> Set[str]:
        """The names of all tensors, and of those that are zero where they are not stored."""
        return self._stored.keys() | self._zeros

    def count_bytes(self) -> int:
        """Return the size of the files that hold the tensors."""
        return sum(file.stat().st_size for file in {file for file, _ in self._stored.values()})

    def read(self, name: str, shape: "torch.Size | None" = None) -> "torch.Tensor":
        """Read a tensor from its file, which is opened again for each tensor.

        While a file is open, all that was read from it counts as resident memory: Phi-2 would need
        10 GiB to load instead of 6.

        Args:
            name: The name of the tensor.
            shape: The shape that it must have; None for any.

        Raises:
            InputError: The file is damaged, or the tensor has another shape.
            KeyError: There is no such tensor.
        """
        import torch
        from safetensors import SafetensorError, safe_open

        if name in self._zeros and name not in self._stored and shape is not None:
            return torch.zeros(shape)
        file, stored = self._stored[name]
        try:
            with safe_open(file, framework="pt") as tensors:
                tensor: torch.Tensor = tensors.get_tensor(stored)
        except SafetensorError as error:
            raise InputError(f"{file} is damaged: {error}", "fetch it again") from error
        if shape is not None and tensor.shape != shape:
            raise InputError(
                f"{stored} in {self._path} is {tuple(tensor.shape)}, not {tuple(shape)}",
                "its config.json belongs to other weights: fetch both again",
            )
        return tensor


def _list_stored(path: Path) -> dict[str, Path]:
    """Return the file of each tensor, by its name in the file."""
    from safetensors import SafetensorError, safe_open

    shards = [path] if path.is_file() else sorted(path.glob(WEIGHTS_PATTERN))
    expected = _read_index(path)
    if not shards and not expected:
        raise InputError(f"{path} has no safetensors weights", "pickled weights are never loaded")
    names: dict[str, Path] = {}
    for shard in shards:
        try:
            with safe_open(shard, framework="pt") as tensors:
                names |= dict.fromkeys(tensors.keys(), shard)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{shard} is damaged: {error}", "fetch it again") from error
    if missing := expected.keys() - names.keys():
        file = expected[min(missing)]
        raise MissingError(f"{path} lacks {len(missing)} tensors of {file}", "fetch it again")
    return names


def _read_index(path: Path) -> dict[str, str]:
    """Return the name of each tensor's file, as the index says; empty if there is no index."""
    index = path / WEIGHTS_INDEX_FILE
    if not index.exists():
        return {}
    try:
        weight_map = files.read_json(index)["weight_map"]
        return {str(name): str(shard) for name, shard in weight_map.items()}
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{index} is damaged", "fetch it again") from error


def _strip(name: str, part: Part | None) -> str | None:
    """Return a stored name as the part knows it, or None if it belongs to another part."""
    if part is None:
        return name
    for stored, local in part.prefixes:
        if name.startswith(stored):
            return local + name.removeprefix(stored)
    return None
