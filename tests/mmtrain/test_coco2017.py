"""The archives of COCO are downloaded, resumed, verified and unpacked."""

import hashlib
import io
import re
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mmtrain.data.coco2017 import Archive, fetch
from mmtui.errors import MissingError, MmtuiError, UsageError
from mmtui.pipeline.assets.fetch import ignore_progress


def make_zip(**members: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return packed.getvalue()


DATA = make_zip(**{"val2017/1.jpg": "picture" * 1000, "../outside.jpg": "x"})
ARCHIVE = Archive("zips/val.zip", len(DATA), hashlib.md5(DATA).hexdigest(), "val2017/1.jpg")


class Host(ThreadingHTTPServer):
    """Serves `data`, at most `limit` bytes per request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.limit, self.has_ranges = DATA, len(DATA), True
        self.ranges: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        range_header = self.headers.get("Range")
        self.server.ranges.append(range_header)
        is_range = range_header is not None and self.server.has_ranges
        start = int(re.findall(r"\d+", range_header)[0]) if is_range else 0
        self.send_response(206 if start else 200)
        self.end_headers()
        self.wfile.write(self.server.data[start : start + self.server.limit])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Host() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_an_archive_is_unpacked_and_downloaded_once(host, tmp_path):
    steps = []
    for _ in range(2):
        fetch(tmp_path / "coco", lambda *step: steps.append(step), host.url, (ARCHIVE,))
    assert (tmp_path / "coco/val2017/1.jpg").read_text() == "picture" * 1000
    assert not (tmp_path / "coco/val.zip").exists() and host.ranges == [None]
    assert {step for step, *_ in steps} == {
        "downloading val.zip", "verifying val.zip", "unpacking val.zip",
    }  # fmt: skip


def test_nothing_is_unpacked_outside_of_the_folder(host, tmp_path):
    fetch(tmp_path / "coco", ignore_progress, host.url, (ARCHIVE,))
    assert [path.name for path in tmp_path.iterdir()] == ["coco"]


@pytest.mark.parametrize("has_ranges", [True, False])
def test_an_interrupted_download_is_resumed_with_and_without_ranges(host, tmp_path, has_ranges):
    host.limit = 100
    with pytest.raises(MissingError, match="stopped at 100 bytes; run the command again"):
        fetch(tmp_path, ignore_progress, host.url, (ARCHIVE,))
    host.limit, host.has_ranges = len(DATA), has_ranges
    fetch(tmp_path, ignore_progress, host.url, (ARCHIVE,))
    assert host.ranges == [None, "bytes=100-"]
    assert (tmp_path / "val2017/1.jpg").exists()


def test_an_archive_with_a_wrong_checksum_is_removed(host, tmp_path):
    host.data = bytes(len(DATA))
    with pytest.raises(MmtuiError, match=r"val\.zip has the MD5") as refused:
        fetch(tmp_path, ignore_progress, host.url, (ARCHIVE,))
    assert refused.value.hint == "run the command again to download it again"
    assert not list(tmp_path.iterdir())


def test_an_unreachable_host_is_an_error_with_the_files_to_download(host, tmp_path):
    host.shutdown()
    host.server_close()
    with pytest.raises(MissingError, match="can't be reached") as refused:
        fetch(tmp_path, ignore_progress, host.url, (ARCHIVE,))
    assert "train2017.zip" in (refused.value.hint or "")


def test_an_unsuitable_destination_is_refused_before_the_download(host, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is not a folder"):
        fetch(tmp_path / "file", ignore_progress, host.url, (ARCHIVE,))
    huge = Archive("zips/huge.zip", 1 << 60, "", "huge/1.jpg")
    with pytest.raises(MmtuiError, match="GB free"):
        fetch(tmp_path, ignore_progress, host.url, (huge,))
    assert host.ranges == []
