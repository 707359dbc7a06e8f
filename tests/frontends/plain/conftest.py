"""A small model for `mmtui --plain`, and a plain chat with fakes in this process."""

import os
import pty
import queue
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fake_audio import FakeListening, FakeSpeaker, FakeSynthesizer
from plain_user import FakeMicrophone, FakeRecording, PlainRun, TranscribingModel

from mmtui.chat.config import Config
from mmtui.chat.history.history import History
from mmtui.chat.protocol import Event
from mmtui.chat.session import Session
from mmtui.frontends.plain.chat import PlainChat
from mmtui.frontends.plain.console import print_notice
from mmtui.frontends.plain.loop import InputLoop
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec, VisionSpec

HALF = (0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def tiny(tiny_llama: Path, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights and a vision tower."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(4)
    vision = VisionSpec(Asset(str(tiny_clip)), "open_clip", 64, HALF, HALF, 16, 128)
    spec = ModelSpec("tiny", LanguageSpec(Asset(str(tiny_llama)), "fp32"), vision)
    checkpoint.write(folder, spec, torch.nn.Linear(128, 64).state_dict())
    return folder


@pytest.fixture
def home(tmp_path: Path, tiny: Path) -> dict[str, str]:
    """The environment of a user whose settings name a fast model and short answers."""
    (tmp_path / "config" / "mmtui").mkdir(parents=True)
    settings = f'model = "{tiny}"\nmax_tokens = 8\n'
    (tmp_path / "config" / "mmtui" / "config.toml").write_text(settings)
    return {
        "TMPDIR": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "MMTUI_MODEL": "",
    }


@pytest.fixture
def talk(mmtui, home):
    """Run `mmtui --plain` with lines on stdin."""

    def run(*lines: str, arguments: tuple[object, ...] = ()):
        return mmtui("--plain", *arguments, stdin="\n".join(lines).encode(), env=home)

    return run


@pytest.fixture
def chat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., PlainRun]:
    """Run a plain chat with a fake model and microphone."""

    def run(
        lines: str | bytes,
        lines_after: str = "",
        recording: FakeRecording | None = None,
        transcript: str = "tell a joke",
        speaker: FakeSpeaker | None = None,
        listening: FakeListening | None = None,
        talk: bool = False,
        terminal: bool = False,
    ) -> PlainRun:
        """Run it.

        Args:
            lines: Written to stdin at the start.
            lines_after: Written when the recording ends, or after `lines` if there is none.
            recording: What the microphone returns.
            transcript: What the model recognizes in each recording.
            speaker: What plays the answers that are read aloud.
            listening: What a talk hears.
            talk: Whether to start with a talk.
            terminal: Whether stdin is a terminal, on which `speaker.keyboard` types.
        """
        write_end, read_end = pty.openpty() if terminal else os.pipe()[::-1]
        monkeypatch.setattr(sys, "stdin", os.fdopen(read_end))
        recording = recording or FakeRecording()

        def finish_input() -> None:
            os.write(write_end, lines_after.encode())
            if not terminal:
                os.close(write_end)

        recording.on_finish = finish_input
        os.write(write_end, lines if isinstance(lines, bytes) else lines.encode())
        if isinstance(lines, bytes) or "/record" not in lines:
            finish_input()
        events: queue.Queue[Event] = queue.Queue()
        model, microphone = TranscribingModel(transcript, events), FakeMicrophone(recording)
        microphone.listening = listening or microphone.listening
        session = Session(model, History(tmp_path / "store"), Config(), print_notice)
        speaker, synthesizer = speaker or FakeSpeaker(is_endless=False), FakeSynthesizer()
        speaker.keyboard = write_end
        InputLoop(PlainChat(session, events, speaker, synthesizer), microphone, speaker).run(
            talk=talk
        )
        session.close()
        return PlainRun(model, microphone, synthesizer, speaker, capsys.readouterr().err)

    return run
