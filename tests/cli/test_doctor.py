"""What `mmtui doctor` finds on machines that lack something."""

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
    """Reach neither the package index nor the hub."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def find(name: str) -> Finding:
    return next(finding for finding in doctor.examine() if finding.name == name)


@pytest.mark.parametrize(
    ("version", "state"), [((3, 10, 4), "bad"), ((3, 13, 0), "ok"), ((3, 14, 0), "bad")]
)
def test_python_is_of_a_supported_version(monkeypatch, version, state):
    monkeypatch.setattr(sys, "version_info", version)
    assert find("python").state == state


def test_a_torch_that_can_t_be_imported_is_reinstalled(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    found = find("torch")
    assert found.state == "bad" and "can't be imported" in found.detail
    assert "--force-reinstall" in (found.cure or "")


@pytest.mark.parametrize(
    ("gib", "state", "cure"),
    [(1.0, "bad", "close other programs"), (3.0, "note", "phi2"), (9.0, "ok", None)],
)
def test_free_memory_is_compared_with_what_the_models_take(monkeypatch, gib, state, cure):
    memory = SimpleNamespace(available=gib * 2**30, total=16 * 2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    found = find("memory")
    assert found.state == state and f"{gib} GiB of 16.0" in found.detail
    assert (cure or "") in (found.cure or "")


def test_a_cache_that_can_t_be_written_keeps_the_models_away(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    found = find("cache")
    assert found.state == "bad" and "can't be written" in found.detail


def test_the_log_is_empty_until_something_goes_wrong(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert find("log").detail.endswith("nothing has been logged yet")
    logs.record_crash("crash", "a stack")
    assert find("log").detail.endswith(" kB")
    monkeypatch.setenv("XDG_STATE_HOME", str(logs.get_path()))
    assert find("log").state == "note"


def test_weights_that_are_not_here_are_only_lost_where_they_can_t_be_fetched(cache):
    found = find("smol")
    assert found.state == "bad" and "language" in found.detail
    assert found.cure == "mmtui pull smol"
    assert find("phi2").state == "note"


def test_a_preset_that_can_t_be_read_is_a_finding(monkeypatch):
    monkeypatch.setattr(checkpoint, "PRESETS", ["no-such-model"])
    assert find("no-such-model").state == "bad"


def test_the_hub_can_be_switched_off():
    found = find("model hub")
    assert found.state == "note" and "HF_HUB_OFFLINE" in found.detail
