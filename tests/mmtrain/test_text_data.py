"""Text files: compressed, truncated, with byte order marks and with special tokens."""

import gzip
import json
import os
from pathlib import Path

import pytest
import zstandard

from mmtrain.data import packing, redpajama, tokenization
from mmtrain.data.skip_report import SkipReport
from mmtrain.data.tokenization import copy_without_special_tokens
from mmtui.errors import InputError
from mmtui.pipeline.assets.fetch import ignore_progress
from mmtui.pipeline.tokenizer import Tokenizer

TEXTS = [f"Text {n}." for n in range(60)]
LINES = "".join(json.dumps({"text": text, "meta": {}}) + "\n" for text in TEXTS).encode()
HALF = LINES.index(b'{"text": "Text 30.')
EMPTY_FRAME = b"\x50\x2a\x4d\x18\x05\x00\x00\x00pzstd"  # skipped by every reader


def with_long_distance(data: bytes) -> bytes:
    """Compress as `zstd --long=31` does with a large file from a pipe."""
    settings = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True)
    stream = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    return stream.compress(data) + stream.flush()


def read(path: Path, skipped: SkipReport | None = None) -> list[str]:
    return list(redpajama.iter_documents([path], skipped))


PACKED = {
    "plain.jsonl": LINES,
    "bom.jsonl": b"\xef\xbb\xbf" + LINES,
    "joined-with-boms.jsonl": b"\xef\xbb\xbf" + LINES[:HALF] + b"\xef\xbb\xbf" + LINES[HALF:],
    "utf-16.jsonl": LINES.decode().encode("utf-16"),
    "windows.jsonl": LINES.replace(b"\n", b"\r\n"),
    "no-last-newline.jsonl": LINES[:-1],
    "one.jsonl.gz": gzip.compress(LINES),
    "members.jsonl.gz": gzip.compress(LINES[:HALF]) + gzip.compress(LINES[HALF:]),
    "bom.jsonl.gz": gzip.compress(b"\xef\xbb\xbf" + LINES),
    "one.jsonl.zst": zstandard.compress(LINES),
    "frames.jsonl.zst": zstandard.compress(LINES[:HALF]) + zstandard.compress(LINES[HALF:]),
    "skippable.jsonl.zst": EMPTY_FRAME + zstandard.compress(LINES) + EMPTY_FRAME,
    "long.jsonl.zst": with_long_distance(LINES),
    "bom.jsonl.zst": zstandard.compress(b"\xef\xbb\xbf" + LINES),
    "unpacked-by-the-browser.jsonl.gz": LINES,
    "packed-without-saying-so.jsonl": zstandard.compress(LINES),
}


@pytest.mark.parametrize("name", PACKED)
def test_documents_are_read_from_every_compressed_format(tmp_path, name):
    (tmp_path / name).write_bytes(PACKED[name])
    skipped = SkipReport()
    assert read(tmp_path / name, skipped) == TEXTS
    assert not skipped.total


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl.gz", gzip.compress(LINES)[:-9]),
        ("a.jsonl.gz", gzip.compress(LINES)[:-3]),
        ("a.jsonl.gz", gzip.compress(LINES) + gzip.compress(LINES)[:-20]),
        ("a.jsonl.gz", b""),
        ("a.jsonl.zst", zstandard.compress(LINES)[: len(zstandard.compress(LINES)) // 2]),
        ("a.jsonl.zst", zstandard.compress(LINES)[:-1]),
        ("a.jsonl.zst", zstandard.compress(LINES) + zstandard.compress(LINES)[:-1]),
        ("a.jsonl.zst", zstandard.compress(LINES) + EMPTY_FRAME[:-1]),
        ("a.jsonl.zst", zstandard.compress(LINES) + b"\x28\xb5"),
        ("a.jsonl.zst", with_long_distance(LINES)[:-1]),
        ("a.jsonl.zst", b""),
    ],
)
def test_compressed_text_that_is_cut_off_is_refused_by_name(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=rf"{name} is cut off"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl.gz", gzip.compress(LINES) + b"more"),
        ("a.jsonl.zst", zstandard.compress(LINES) + b"more"),
        ("a.jsonl.gz", gzip.compress(LINES)[:40] + b"????" + gzip.compress(LINES)[44:]),
    ],
)
def test_compressed_text_that_is_damaged_is_refused_by_name(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=rf"{name} can't be read"):
        read(tmp_path / name)


def test_a_large_file_is_streamed(tmp_path):
    """A frame of 200 MB is read line by line, and closed after the first."""
    line = json.dumps({"text": "x" * 1000}).encode() + b"\n"
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(line * 200_000, 1))
    documents = redpajama.iter_documents([tmp_path / "a.jsonl.zst"])
    assert len(next(documents)) == 1000
    documents.close()


def test_lines_without_text_are_counted_by_reason(tmp_path):
    lines = ["{broken", '{"text": 3}', "[]", '{"text": " "}', "", '{"other": 1}', '{"text": "A."}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    skipped = SkipReport()
    assert read(tmp_path / "a.jsonl", skipped) == ["A."]
    assert skipped.notes("line") == [
        '3 lines skipped: no "text" (first: a.jsonl:2)',
        "1 line skipped: not JSON (first: a.jsonl:1)",
        '1 line skipped: an empty "text" (first: a.jsonl:4)',
    ]


def test_files_are_found_by_a_pattern_and_in_a_folder(tmp_path):
    for name in ("a.jsonl", "b.jsonl.gz"):
        (tmp_path / name).write_bytes(PACKED["plain.jsonl"])
    assert len(redpajama.find_files(tmp_path)) == 2
    assert redpajama.find_files(tmp_path / "*.gz") == [tmp_path / "b.jsonl.gz"]
    with pytest.raises(InputError, match="names no text"):
        redpajama.find_files(tmp_path / "images")


def test_a_special_token_in_a_document_is_text(cache, tmp_path):
    texts = [f"{n}: the marker <|endoftext|> ends a document, they say." for n in range(300)]
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    tokenizer = tokenization.train_tokenizer([file], 400, ignore_progress)
    packed = packing.pack_documents([file], [], tokenizer, ignore_progress)
    tokens = [*packed.train.tolist(), *packed.validation.tolist()]
    assert tokens.count(tokenizer.eos_token_id) == len(texts)
    assert tokenizer.decode(tokens).count("<|endoftext|>") == 2 * len(texts)


@pytest.mark.parametrize("marker", ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
def test_text_is_never_encoded_as_a_special_token(tiny_llama, marker):
    tokenizer = Tokenizer(tiny_llama)
    text = f"what {marker} is"
    ids = copy_without_special_tokens(tokenizer).encode(text, add_special_tokens=False).ids
    assert not set(ids) & tokenizer.added_tokens_decoder.keys()
    assert tokenizer.decode(ids) == text


def test_a_single_document_trains_without_validation(cache, tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"text": "one " * 100}))
    tokenizer = tokenization.train_tokenizer([file], 300, ignore_progress)
    packed = packing.pack_documents([file], [], tokenizer, ignore_progress)
    assert packed.documents == 1 and len(packed.train) and not len(packed.validation)
    assert any("without validation" in note for note in packed.notes)


def test_text_is_packed_again_when_a_file_changes_with_the_same_time_stamp(cache, tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("".join(f'{{"text": "Line {n}."}}\n' for n in range(300)))
    stamp = file.stat()
    tokenizer = tokenization.train_tokenizer([file], 300, ignore_progress)
    before = packing.pack_documents([file], [], tokenizer, ignore_progress)
    file.write_text(file.read_text().replace("Line 7", "Lime 7"))
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    after = packing.pack_documents([file], [], tokenizer, ignore_progress)
    assert after.train.tolist() != before.train.tolist()
