"""`mmtui doctor` on machines with and without problems."""

import re
import sys
from types import SimpleNamespace

import psutil
import pytest

from mmtui import logs
from mmtui.cli import doctor
from mmtui.cli.doctor import Finding
from mmtui.pipeline.assets import checkpoint


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the package index and the hub unreachable."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def find(name: str) -> Finding:
    return next(finding for finding in doctor.examine() if finding.name == name)


@pytest.mark.parametrize(
    ("version", "state"), [((3, 10, 4), "bad"), ((3, 13, 0), "ok"), ((3, 14, 0), "bad")]
)
def test_the_version_of_python_must_be_supported(monkeypatch, version, state):
    monkeypatch.setattr(sys, "version_info", version)
    assert find("python").state == state


def test_the_cure_for_a_torch_that_can_t_be_imported_is_to_reinstall_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    found = find("torch")
    assert found.state == "bad" and "can't be imported" in found.detail
    assert "--force-reinstall" in (found.cure or "")


@pytest.mark.parametrize(
    ("gib", "state", "cure"),
    [(1.0, "bad", "close other programs"), (3.0, "note", "phi2"), (9.0, "ok", None)],
)
def test_free_memory_is_compared_with_what_the_models_need(monkeypatch, gib, state, cure):
    memory = SimpleNamespace(available=gib * 2**30, total=16 * 2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    found = find("memory")
    assert found.state == state and f"{gib} GiB of 16.0" in found.detail
    assert (cure or "") in (found.cure or "")


def test_a_cache_that_can_t_be_written_is_reported(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    found = find("cache")
    assert found.state == "bad" and "can't be written" in found.detail


def test_the_log_is_found_with_its_size(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert find("log").detail.endswith("nothing has been logged yet")
    logs.record_crash("crash", "a stack")
    assert find("log").detail.endswith(" kB")
    monkeypatch.setenv("XDG_STATE_HOME", str(logs.get_path()))
    assert find("log").state == "note"


def test_weights_that_are_missing_and_can_t_be_downloaded_are_reported(cache):
    found = find("smol")
    assert found.state == "bad" and "language" in found.detail
    assert found.cure == "mmtui pull smol"
    assert find("phi2").state == "note"


def test_a_preset_that_can_t_be_read_is_reported(monkeypatch):
    monkeypatch.setattr(checkpoint, "PRESETS", ["no-such-model"])
    assert find("no-such-model").state == "bad"


def test_a_hub_that_is_switched_off_is_reported():
    found = find("model hub")
    assert found.state == "note" and "HF_HUB_OFFLINE" in found.detail


def test_doctor_finds_nothing_wrong_with_smol(mmtui, smol):
    result = {finding["name"]: finding for finding in mmtui("doctor", "--json").json}
    assert {
        "python",
        "torch",
        "memory",
        "microphone",
        "reading",
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


def test_doctor_fails_where_the_cache_can_t_be_written(mmtui, tmp_path):
    (tmp_path / "file").touch()
    run = mmtui("doctor", env={"XDG_CACHE_HOME": str(tmp_path / "file"), "PIP_NO_INDEX": "1"})
    assert run.code == 1
    assert re.search(r"^BAD +cache", run.out, re.MULTILINE)
    assert re.search(r"^ +cure: make .* writable", run.out, re.MULTILINE)
