"""Headers of GGUFs: read fast, and refused if they are damaged."""

import struct
from pathlib import Path

import pytest
from gguf import GGUFReader
from gguf_models import LAYERS, WIDTH, write_gguf

from mmtui.errors import InputError
from mmtui.pipeline.assets.gguf_header import read_header


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "model.gguf")


def test_a_header_has_what_the_reader_of_gguf_finds(file):
    header, reader = read_header(file), GGUFReader(file)
    assert header.architecture == "llama"
    assert header.get_number("llama.embedding_length") == WIDTH
    assert header.get_number("llama.block_count") == LAYERS
    assert header.values["tokenizer.ggml.tokens"] is None  # skipped
    assert header.sizes == {tensor.name: tensor.n_bytes for tensor in reader.tensors}
    for tensor in reader.tensors:
        stored = header.tensors[tensor.name]
        assert stored.shape == tuple(tensor.shape)
        assert header.start + stored.offset == tensor.data_offset
    header.check_complete()


def test_keys_that_are_missing_or_of_another_type_are_empty(file):
    header = read_header(file)
    assert (header.get_text("x"), header.get_number("x")) == ("", 0)
    assert header.get_text("llama.embedding_length") == ""
    assert header.get_number("general.architecture") == 0


def test_a_file_that_is_cut_off_is_refused_wherever_it_ends(file):
    data = file.read_bytes()
    start = read_header(file).start
    for length in [*range(4, start - 32, 97), start - 33]:
        file.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"header of .* is damaged"):
            read_header(file)
    for length in (start, len(data) - 1):
        file.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"is cut off: .* MB are here"):
            read_header(file).check_complete()


def test_a_header_with_random_bytes_is_refused_or_read_but_never_crashes(file):
    data = bytearray(file.read_bytes())
    for at in range(4, 400):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        file.write_bytes(damaged)
        try:
            read_header(file).check_complete()
        except InputError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"<html>not found</html>"])
def test_another_format_is_refused(tmp_path, content):
    file = tmp_path / "x.gguf"
    file.write_bytes(content)
    with pytest.raises(InputError, match="is not a GGUF"):
        read_header(file)


@pytest.mark.parametrize("version", [1, 4, 3 << 24])
def test_other_versions_are_refused(file, version):
    data = file.read_bytes()
    file.write_bytes(data[:4] + struct.pack("<I", version) + data[8:])
    with pytest.raises(InputError, match=f"version {version} of GGUF"):
        read_header(file)
