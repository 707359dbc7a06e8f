"""Speech from a microphone to the prompt: PulseAudio's room, PortAudio, WhisperX."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from user import run_async

from mmtui.audio.recorder import SystemMicrophone
from mmtui.chat.config import Config
from mmtui.frontends.tui.app import ChatApp
from mmtui.frontends.tui.screens.chat.screen import ChatScreen
from mmtui.frontends.tui.widgets.chips import Chips
from mmtui.frontends.tui.widgets.composer import Composer

# Whatever is played in the room is heard by its microphone.
ROOM = (
    "module-null-sink sink_name=room",
    "module-remap-source source_name=microphone master=room.monitor",
)
ALSA = """
</usr/share/alsa/alsa.conf>
pcm.!default { type pulse }
ctl.!default { type pulse }
"""


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A sound system with a microphone and nothing else."""
    for program in ("pulseaudio", "pactl", "paplay"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program} here (pulseaudio, pulseaudio-utils)")
    socket = tmp_path / "pulse.socket"
    (tmp_path / "alsa.conf").write_text(ALSA)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PULSE_SERVER", f"unix:{socket}")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "alsa.conf"))
    modules = (f"module-native-protocol-unix socket={socket} auth-anonymous=1", *ROOM)
    server = subprocess.Popen(
        ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]
        + [f"--load={module}" for module in modules],
        env={**os.environ, "HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    choose = ["pactl", "set-default-source", "microphone"]
    deadline = time.monotonic() + 30
    while subprocess.run(choose, capture_output=True, check=False).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            pytest.skip("PulseAudio does not start here")
    yield
    server.terminate()
    server.wait()


@pytest.fixture
def microphone(room: None) -> SystemMicrophone:
    found = subprocess.run(
        [sys.executable, "-c", "import sounddevice"], capture_output=True, check=False
    )
    if found.returncode:
        pytest.skip("PortAudio is not here (libportaudio2)")
    real = SystemMicrophone()
    if "default" not in real.list_devices():
        pytest.skip("ALSA knows no PulseAudio here (libasound2-plugins)")
    return real


async def until(true, what: str) -> None:
    async with asyncio.timeout(240):
        while not true():
            await asyncio.sleep(0.02)
    assert true(), what


def test_speech_is_transcribed_into_the_prompt(microphone, shared, smol, tmp_path):
    @run_async
    async def speak():
        app = ChatApp(Config(model="smol"), folder=tmp_path / "store", microphone=microphone)
        async with app.run_test(size=(90, 30), notifications=True) as pilot:
            chat = next(s for s in app.screen_stack if isinstance(s, ChatScreen))
            await pilot.press("f4")
            await until(
                lambda: chat._meter._recording.seconds > 0 or chat._meter._recording.error,
                "records",
            )
            assert chat._meter._recording.error is None
            clip = str(shared / "speech" / "LJ001-0012.wav")
            playing = await asyncio.create_subprocess_exec("paplay", "--device=room", clip)
            await until(lambda: chat._meter._recording.level > 0.05, "the level rises")
            assert await playing.wait() == 0
            await pilot.press("f4")
            composer = chat.query_one(Composer)
            await until(lambda: composer.text or app._notifications, "the transcript comes")
            print(composer.text, [n.message for n in app._notifications])
            assert "printing beautiful letters" in composer.text
            (voice,) = chat.query_one("ChatScreen > Chips", Chips).attachments
            assert voice.transcript == composer.text and voice.kind == "audio"

    speak()
