"""A run resumes only with the same data; an error names what has changed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mmtrain.data import llava, packing, tokenization
from mmtrain.data.dialogue_dataset import DialogueDataset
from mmtrain.data.features import FeatureStore
from mmtrain.data.packing import BlockDataset
from mmtrain.run import folder
from mmtui.errors import UsageError
from mmtui.pipeline.assets.fetch import ignore_progress
from mmtui.pipeline.prompt import ChatFormat
from mmtui.pipeline.tokenizer import Tokenizer
from mmtui.pipeline.vision.tower import VisionTower


@pytest.fixture
def dialogues(tiny_vision, tiny_clip, tiny_llama, cache, tmp_path) -> Callable[[], DialogueDataset]:
    """Return a function that reads and encodes the data again, as a resumed run does."""
    (tmp_path / "images").mkdir()
    rows = []
    for n in range(20):
        Image.new("RGB", (9, 9), (n, 0, 0)).save(tmp_path / "images" / f"{n}.png")
        rows.append(
            {
                "id": str(n),
                "image": f"{n}.png",
                "conversations": llava.format_exchange("What?", "Red."),
            }
        )
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    tower = VisionTower(tiny_vision, tiny_clip)
    chat = ChatFormat(Tokenizer(tiny_llama))

    def read() -> DialogueDataset:
        store = FeatureStore(tiny_vision, lambda: tower, ignore_progress)
        data = DialogueDataset(llava.load_examples(tmp_path).train, chat, store, (16, 128), 256)
        store.ensure(data.pictures)
        return data

    return read


def resume(out: Path, before: dict[str, str], now: dict[str, str]) -> None:
    folder.check_same_data(out, {"fingerprint": {"training": before}}, {"training": now})


def test_a_run_resumes_with_the_same_data(dialogues, tmp_path):
    before = dialogues().fingerprint()
    resume(tmp_path, before, dialogues().fingerprint())
    # Runs of older versions have no fingerprint.
    folder.check_same_data(tmp_path, {}, {"training": before})


@pytest.mark.parametrize("kind", ["texts", "pictures", "examples"])
def test_changed_data_is_refused_by_name(dialogues, tmp_path, kind):
    before = dialogues().fingerprint()
    rows = json.loads((tmp_path / "rows.json").read_text())
    for n in range(20):
        if kind == "texts":
            rows[n]["conversations"][1]["value"] = "Bad."  # of the same length
        if kind == "pictures":
            Image.new("RGB", (9, 9), (0, n, 0)).save(tmp_path / "images" / f"{n}.png")
        if kind == "examples":
            rows[n]["id"] = f"x{n}"
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    with pytest.raises(UsageError, match=f"has changed: training {kind}$"):
        resume(tmp_path, before, dialogues().fingerprint())


def test_changed_text_is_refused(cache, tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("".join(f'{{"text": "Line {n}."}}\n' for n in range(300)))
    tokenizer = tokenization.train_tokenizer([file], 300, ignore_progress)
    before = BlockDataset(
        packing.pack_documents([file], [], tokenizer, ignore_progress).train, 8
    ).fingerprint()
    file.write_text(file.read_text().replace("Line 7", "Lime 7"))
    after = BlockDataset(
        packing.pack_documents([file], [], tokenizer, ignore_progress).train, 8
    ).fingerprint()
    with pytest.raises(UsageError, match="has changed: training tokens"):
        resume(tmp_path, before, after)
