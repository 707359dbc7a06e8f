"""The description of the machine, on systems with more or less information."""

import os
import platform
from importlib.metadata import version

import mmtui
from mmtui import machine


def test_versions_of_installed_libraries_are_listed(monkeypatch):
    monkeypatch.setattr(machine, "LIBRARIES", ("torch", "no-such-library"))
    described = machine.describe()
    assert (described["torch"], described["mmtui"]) == (version("torch"), mmtui.__version__)
    assert "no-such-library" not in described
    assert described["cores"] > 0 and described["processor"]


def test_all_cores_are_counted_without_cpu_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert machine.get_cores() == set(range(6))
    monkeypatch.setattr(os, "cpu_count", lambda: None)  # it is not known everywhere
    assert machine.get_cores() == {0}


def test_the_processor_is_named_without_proc_cpuinfo(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError("/proc/cpuinfo")

    monkeypatch.setattr(machine, "open", refuse, raising=False)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert machine.get_processor() == machine.get_processor_flags() == "arm64"
