"""Download, verify and unpack the official archives of COCO 2017."""

import hashlib
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import requests

from mmtui.errors import MissingError, MmtuiError, UsageError
from mmtui.pipeline.assets.fetch import Report

HOST = "http://images.cocodataset.org"  # serves no HTTPS; the checksums protect the content
CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30


@dataclass(frozen=True)
class Archive:
    """A ZIP file of the data set.

    Attributes:
        path: Its path on the host.
        size: Its size in bytes.
        md5: Its MD5, as COCO's mirrors list it.
        member: A file in it, whose presence shows that the archive was unpacked.
    """

    path: str
    size: int
    md5: str
    member: str

    @property
    def name(self) -> str:
        """The file name."""
        return self.path.rpartition("/")[2]


ARCHIVES = (
    Archive(
        "annotations/annotations_trainval2017.zip", 252_907_541,
        "f4bbac642086de4f52a3fdda2de5fa2c", "annotations/captions_val2017.json",
    ),
    Archive(
        "zips/val2017.zip", 815_585_330,
        "442b8da7639aecaf257c1dceb8ba8c80", "val2017/000000000139.jpg",
    ),
    Archive(
        "zips/train2017.zip", 19_336_861_798,
        "cced6f7f71b7629ddf16f17bbcfab6b2", "train2017/000000000009.jpg",
    ),
)  # fmt: skip


def fetch(
    out: Path, report: Report, host: str = HOST, archives: tuple[Archive, ...] = ARCHIVES
) -> None:
    """Download the archives and unpack annotations/, val2017/ and train2017/ into a folder.

    An interrupted download is resumed. Archives that are unpacked already are skipped.

    Args:
        out: The folder, which is created if it is missing.
        report: Called with the progress.
        host: URL of the server.
        archives: The archives to download.

    Raises:
        UsageError: `out` is not a folder.
        MissingError: The host can't be reached; the hint says which files to put where.
        MmtuiError: The disk has too little space, or a checksum is wrong.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is not a folder", "pass another folder as --out")
    out.mkdir(parents=True, exist_ok=True)
    pending = [a for a in archives if (out / a.name).exists() or not (out / a.member).exists()]
    needed = 2 * sum(archive.size for archive in pending)  # archives and their content
    if shutil.disk_usage(out).free < needed:
        raise MmtuiError(
            f"{out} has {shutil.disk_usage(out).free / 1e9:.0f} GB free;"
            f" the archives and their content need {needed / 1e9:.0f} GB",
            "pass another folder as --out",
        )
    for archive in pending:
        file = out / archive.name
        try:
            _download(f"{host}/{archive.path}", file, archive, report)
        except requests.RequestException as error:
            raise MissingError(
                f"{host} can't be reached: {_summarize(error)}", _format_manual_steps(out)
            ) from error
        _verify(file, archive, report)
        _unpack(file, out, report)
        file.unlink()


def _download(url: str, target: Path, archive: Archive, report: Report) -> None:
    received = target.stat().st_size if target.exists() else 0
    if received >= archive.size:
        return
    headers = {"Range": f"bytes={received}-"} if received else {}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            received = 0  # the server ignored the range and sends the file from its start
        with target.open("ab" if received else "wb") as file:
            for chunk in response.iter_content(CHUNK_BYTES):
                file.write(chunk)
                received += len(chunk)
                report(f"downloading {archive.name}", min(received, archive.size - 1), archive.size)
    report(f"downloading {archive.name}", archive.size, archive.size)
    if received < archive.size:
        raise requests.ConnectionError(
            f"the download of {archive.name} stopped at {received:,} bytes; run the command again"
        )


def _verify(file: Path, archive: Archive, report: Report) -> None:
    report(f"verifying {archive.name}", 0, 0)
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if digest != archive.md5:
        file.unlink()
        raise MmtuiError(
            f"{archive.name} has the MD5 {digest}, not {archive.md5}",
            "run the command again to download it again",
        )


def _unpack(file: Path, out: Path, report: Report) -> None:
    with zipfile.ZipFile(file) as archive:
        members = archive.namelist()
        for number, member in enumerate(members):
            report(f"unpacking {file.name}", number, len(members))
            archive.extract(member, out)  # zipfile removes ".." from paths
        report(f"unpacking {file.name}", len(members), len(members))


def _summarize(error: Exception) -> str:
    return type(error).__name__ if isinstance(error, requests.Timeout) else str(error)[:160]


def _format_manual_steps(out: Path) -> str:
    files = " ".join(f"{HOST}/{archive.path}" for archive in ARCHIVES)
    folders = "annotations/, val2017/ and train2017/"
    return f"download {files} on another machine and unpack them so that {out} holds {folders}"
