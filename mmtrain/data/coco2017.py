"""The official COCO 2017 archives: fetched where a network allows, resumed, checked, unpacked."""

import hashlib
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import requests

from mmtui.errors import MissingError, MmtuiError, UsageError
from mmtui.pipeline.assets.fetch import Report

HOST = "http://images.cocodataset.org"  # it serves no HTTPS; the checksums do that work
CHUNK = 1 << 20
TIMEOUT_S = 30


@dataclass(frozen=True)
class Archive:
    """`md5` as listed by COCO's mirrors; `makes` is what it unpacks to."""

    path: str
    size: int
    md5: str
    makes: str

    @property
    def name(self) -> str:
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
    """Leaves annotations/, val2017/ and train2017/ in `out`.

    A broken download goes on where it was. Raises MissingError, telling what to put where, if
    the host can't be reached; MmtuiError on a full disk or a wrong checksum.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is not a folder", "name another --out")
    out.mkdir(parents=True, exist_ok=True)
    wanted = [a for a in archives if (out / a.name).exists() or not (out / a.makes).exists()]
    needed = 2 * sum(archive.size for archive in wanted)
    if shutil.disk_usage(out).free < needed:
        raise MmtuiError(
            f"{out} has {shutil.disk_usage(out).free / 1e9:.0f} GB free;"
            f" the archives and what is in them take {needed / 1e9:.0f} GB",
            "name another --out",
        )
    for archive in wanted:
        packed = out / archive.name
        try:
            _download(f"{host}/{archive.path}", packed, archive, report)
        except requests.RequestException as error:
            raise MissingError(
                f"{host} can't be reached: {_short(error)}", _by_hand(out)
            ) from error
        _verify(packed, archive, report)
        _unpack(packed, out, report)
        packed.unlink()


def _download(url: str, place: Path, archive: Archive, report: Report) -> None:
    have = place.stat().st_size if place.exists() else 0
    if have >= archive.size:
        return
    headers = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
        answer.raise_for_status()
        if answer.status_code != requests.codes.partial_content:
            have = 0  # the server begins again
        with place.open("ab" if have else "wb") as file:
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
                have += len(chunk)
                report(f"fetching {archive.name}", min(have, archive.size - 1), archive.size)
    report(f"fetching {archive.name}", archive.size, archive.size)
    if have < archive.size:
        raise requests.ConnectionError(
            f"{archive.name} broke off at {have:,} bytes; run this again"
        )


def _verify(packed: Path, archive: Archive, report: Report) -> None:
    report(f"checking {archive.name}", 0, 0)
    with packed.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if digest != archive.md5:
        packed.unlink()
        raise MmtuiError(
            f"{archive.name} has the MD5 {digest}, not {archive.md5}",
            "run this again to fetch it anew",
        )


def _unpack(packed: Path, out: Path, report: Report) -> None:
    with zipfile.ZipFile(packed) as archive:
        members = archive.namelist()
        for number, member in enumerate(members):
            report(f"unpacking {packed.name}", number, len(members))
            archive.extract(member, out)  # zipfile keeps members within `out`
        report(f"unpacking {packed.name}", len(members), len(members))


def _short(error: Exception) -> str:
    return type(error).__name__ if isinstance(error, requests.Timeout) else str(error)[:160]


def _by_hand(out: Path) -> str:
    files = " ".join(f"{HOST}/{archive.path}" for archive in ARCHIVES)
    folders = "annotations/, val2017/ and train2017/"
    return f"fetch {files} elsewhere and unpack them so that {out} holds {folders}"
