"""Whether torch would use a GPU, found out by asking the driver first."""

import ctypes
import sys
from types import SimpleNamespace

import pytest

from mmtui.pipeline.engines import selection


class FakeDriver:
    """NVIDIA's driver library, as far as it is called."""

    def __init__(self, error: int, devices: int) -> None:
        self._error, self._devices = error, devices

    def cuInit(self, flags: int) -> int:
        return self._error

    def cuDeviceGetCount(self, count) -> int:
        count._obj.value = self._devices
        return 0


def install_driver(monkeypatch: pytest.MonkeyPatch, error: int = 0, devices: int = 1) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: FakeDriver(error, devices))


def test_there_is_no_gpu_without_a_driver(monkeypatch):
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert not selection.has_gpu()


@pytest.mark.parametrize(("error", "devices"), [(100, 1), (0, 0)])
def test_a_driver_without_devices_is_no_gpu_and_torch_is_not_imported(monkeypatch, error, devices):
    install_driver(monkeypatch, error, devices)
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it would fail
    assert not selection.has_gpu()


@pytest.mark.parametrize("usable", [True, False])
def test_torch_decides_whether_it_can_use_a_device(monkeypatch, usable):
    install_driver(monkeypatch)
    cuda = SimpleNamespace(is_available=lambda: usable)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert selection.has_gpu() == usable


def test_a_device_is_no_use_to_a_broken_torch(monkeypatch):
    install_driver(monkeypatch)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not selection.has_gpu()
