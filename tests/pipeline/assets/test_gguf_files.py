"""Which files belong to a GGUF model."""

from pathlib import Path

import pytest
from gguf_models import write_gguf

from mmtui.errors import InputError, MissingError
from mmtui.pipeline.assets import checkpoint, gguf_files


def test_a_file_is_a_model_by_its_name_or_its_content(tmp_path):
    file = write_gguf(tmp_path / "Some Model-Q4_K_M.gguf")
    blob = file.with_name("sha256-0123")
    blob.write_bytes(file.read_bytes())
    assert checkpoint.find(str(file)).spec.name == "Some Model-Q4_K_M"
    assert checkpoint.find(str(blob)).gguf.shards == (blob,)
    found = checkpoint.find(f"'{file}'")
    assert (found.gguf.shards, found.can_see) == ((file,), False)
    assert found.spec.speech is not None  # recordings are transcribed


@pytest.mark.parametrize("name", ["smol", "hf:a/b", "hf:a", "\0", "x" * 5000, "http://a/b.gguf"])
def test_other_names_are_not_taken_for_files(name):
    assert gguf_files.find(name) is None


def test_a_file_that_does_not_exist_is_reported(tmp_path):
    with pytest.raises(MissingError, match=r"no such file: .*x\.gguf"):
        checkpoint.find(str(tmp_path / "x.gguf"))


def test_another_format_is_reported(tmp_path):
    file = tmp_path / "x.gguf"
    file.write_text("<html>")
    with pytest.raises(InputError, match="is not a GGUF"):
        checkpoint.find(str(file))


def split(folder: Path) -> list[Path]:
    write_gguf(folder / "model.gguf", tensors_per_file=8)
    return sorted(folder.glob("model-*.gguf"))


def test_all_shards_are_found_by_any_of_them(tmp_path):
    shards = split(tmp_path)
    assert len(shards) > 2
    for shard in shards:
        found = checkpoint.find(str(shard))
        assert (found.spec.name, found.gguf.shards) == ("model", tuple(shards))


def test_a_missing_shard_is_named(tmp_path):
    shards = split(tmp_path)
    shards[1].unlink()
    with pytest.raises(MissingError, match=f"{shards[1].name} is missing: .* into {len(shards)}"):
        checkpoint.find(str(shards[0]))
