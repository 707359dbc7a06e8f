"""The peak memory of a process, or of the GPU if torch uses one."""

import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest

from mmtui import memory


def fake_torch(available: bool, allocated: int) -> SimpleNamespace:
    cuda = SimpleNamespace(is_available=lambda: available, max_memory_allocated=lambda: allocated)
    return SimpleNamespace(cuda=cuda)


def test_the_peak_is_that_of_the_gpu_if_torch_uses_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", fake_torch(True, 123))
    assert memory.measure_peak() == 123


@pytest.mark.parametrize(("available", "allocated"), [(False, 123), (True, 0)])
def test_the_peak_is_that_of_the_process_without_a_gpu(monkeypatch, available, allocated):
    monkeypatch.setitem(sys.modules, "torch", fake_torch(available, allocated))
    assert memory.measure_peak() > 1_000_000


def test_freed_memory_counts_for_the_peak():
    code = (
        "from mmtui import memory; block = bytearray(b'x') * 200_000_000; del block; "
        "print(memory.measure_peak())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert 200_000_000 < int(run.stdout) < 300_000_000


@pytest.mark.parametrize(("platform", "unit"), [("darwin", 1), ("freebsd14", 1024)])
def test_other_systems_report_bytes_or_kibibytes(monkeypatch, platform, unit):
    usage = SimpleNamespace(ru_maxrss=7_000_000)
    monkeypatch.setitem(sys.modules, "torch", fake_torch(False, 0))
    monkeypatch.setattr(resource, "getrusage", lambda _: usage)
    monkeypatch.setattr(sys, "platform", platform)
    assert memory.measure_peak() == 7_000_000 * unit
