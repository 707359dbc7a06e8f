"""Which files belong to a GGUF model."""

from pathlib import Path

import pytest
from gguf_models import write_gguf, write_mmproj

from mmtui.errors import InputError, MissingError, UsageError
from mmtui.pipeline.assets import checkpoint, gguf_files
from mmtui.pipeline.assistant import Assistant


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


def test_the_mmproj_beside_a_model_is_used(tmp_path):
    file = write_gguf(tmp_path / "model.gguf")
    write_mmproj(tmp_path / "mmproj-model-f32.gguf")
    best = write_mmproj(tmp_path / "Model.mmproj-f16.gguf")
    (tmp_path / "mmproj-broken.gguf").write_bytes(b"GGUF")
    found = checkpoint.find(str(file))
    assert (found.gguf.mmproj, found.gguf.picture_side, found.can_see) == (best, 56, True)


def test_an_mmproj_of_another_model_is_left_out(tmp_path):
    file = write_gguf(tmp_path / "model.gguf")
    write_mmproj(tmp_path / "mmproj-f16.gguf", width=96)
    write_mmproj(tmp_path / "mmproj-someone-else.gguf")
    assert not checkpoint.find(str(file)).can_see
    named = write_gguf(tmp_path / "named.gguf", basename="One")
    write_mmproj(tmp_path / "mmproj.gguf", **{"general.basename": "Other"})
    assert not checkpoint.find(str(named)).can_see
    own = write_mmproj(tmp_path / "mmproj-named.gguf", **{"general.basename": "one"})
    assert checkpoint.find(str(named)).gguf.mmproj == own


def test_the_user_can_choose_the_mmproj(tmp_path):
    file = write_gguf(tmp_path / "my model.gguf")
    mmproj = write_mmproj(tmp_path / "elsewhere" / "tower.gguf")
    assert checkpoint.find(f"{file} --mmproj {mmproj}").gguf.mmproj == mmproj
    assert gguf_files.add_mmproj("a.gguf", Path("b.gguf")) == "a.gguf --mmproj b.gguf"
    with pytest.raises(UsageError, match="--mmproj needs --model"):
        gguf_files.add_mmproj("auto", mmproj)
    with pytest.raises(UsageError, match="--mmproj needs a GGUF file"):
        checkpoint.find(f"{tmp_path} --mmproj {mmproj}")


def test_an_mmproj_that_can_t_be_used_is_reported(tmp_path):
    file = write_gguf(tmp_path / "model.gguf")
    mmproj = write_mmproj(tmp_path / "tower.gguf", width=96)

    def find(name: Path) -> object:
        return checkpoint.find(f"{file} --mmproj {name}")

    with pytest.raises(InputError, match=r"is for another model: .* embeddings of 64 numbers"):
        find(mmproj)
    with pytest.raises(InputError, match="is not an mmproj"):
        find(file)
    with pytest.raises(MissingError, match="no such file"):
        find(tmp_path / "x.gguf")
    with pytest.raises(InputError, match="can't be read: File name too long"):
        find(tmp_path / f"{'x' * 300}.gguf")
    mmproj.write_bytes(mmproj.read_bytes()[:-100])
    with pytest.raises(InputError, match="is cut off"):
        find(mmproj)
    with pytest.raises(InputError, match="vision tower of a model, not a model") as error:
        checkpoint.find(str(mmproj))
    assert error.value.hint == "--model MODEL.gguf --mmproj tower.gguf"


def test_an_audio_tower_is_noted(tmp_path):
    file = write_gguf(tmp_path / "model.gguf")
    audio = {"clip.has_audio_encoder": True, "clip.has_vision_encoder": False}
    write_mmproj(tmp_path / "mmproj.gguf", **audio)
    found = checkpoint.find(str(file))
    assert (found.gguf.can_hear, found.can_see) == (True, False)
    assert Assistant(found).note == (
        "this model can hear: with --listen model, it gets recordings instead of transcripts"
    )


@pytest.mark.parametrize(
    ("model", "own", "other"),
    [
        (
            "moondream2-text-model-f16_ct-vicuna",
            "moondream2-mmproj-f16-20250414",
            "mmproj-llava-f16",
        ),
        ("Qwen2.5-VL-7B-Q4_K_M", "mmproj-Qwen2.5-VL-7B-Q8_0-v2", "mmproj-Qwen2-VL-f16"),
        ("gemma-3-4b-it-IQ4_XS", "mmproj-gemma-3-4b-it-bf16", "mmproj-gemma-3-f16"),
        ("llava", "mmproj-llava-f32", "mmproj-llava-phi3-f16"),
        ("llava-Q8_0", "llava-20250101-mmproj", "mmproj-other"),
        ("any-Q4_0", "mmproj-F16", "mmproj-other-f16"),
    ],
)
def test_the_mmproj_whose_name_matches_best_is_used(tmp_path, model, own, other):
    file = write_gguf(tmp_path / f"{model}.gguf")
    expected = write_mmproj(tmp_path / f"{own}.gguf")
    write_mmproj(tmp_path / f"{other}.gguf")
    assert checkpoint.find(str(file)).gguf.mmproj == expected


def test_the_only_mmproj_is_used_unless_it_is_named_after_another_model(tmp_path):
    file = write_gguf(tmp_path / "renamed-Q4_0.gguf")
    only = write_mmproj(tmp_path / "mmproj-tiny-f16-20250101.gguf")
    assert checkpoint.find(str(file)).gguf.mmproj == only
    tiny = write_gguf(tmp_path / "tiny-Q8_0.gguf")
    assert checkpoint.find(str(tiny)).gguf.mmproj == only
    assert not checkpoint.find(str(file)).can_see


def test_the_choice_is_shown_where_no_name_matches(mmtui, tmp_path, cat):
    file = write_gguf(tmp_path / "mine-Q4_0.gguf")
    for name in ("a", "b"):
        write_mmproj(tmp_path / f"mmproj-{name}-f16.gguf")
    run = mmtui("ask", "--model", file, "--image", cat, "What is it?")
    assert run.code == 3 and "mine-Q4_0 can't see: no mmproj of this model is beside it" in run.err
    hint = "hint: these are beside it, but are named after other models: mmproj-a-f16.gguf, "
    assert hint in run.err and "; --mmproj FILE uses one of them" in run.err
