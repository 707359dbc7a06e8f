"""The description of the machine, on systems that tell more or less about themselves."""

import os
import platform
from importlib.metadata import version

import mmtui
from mmtui import machine


def test_libraries_are_named_with_their_versions_and_missing_ones_left_out(monkeypatch):
    monkeypatch.setattr(machine, "LIBRARIES", ("torch", "no-such-library"))
    described = machine.describe()
    assert (described["torch"], described["mmtui"]) == (version("torch"), mmtui.__version__)
    assert "no-such-library" not in described
    assert described["cores"] > 0 and described["processor"]


def test_all_cores_count_where_a_process_can_t_be_bound_to_some(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert machine.get_cores() == set(range(6))
    monkeypatch.setattr(os, "cpu_count", lambda: None)  # it is not known everywhere
    assert machine.get_cores() == {0}


def test_python_names_the_processor_where_the_kernel_does_not(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError("/proc/cpuinfo")

    monkeypatch.setattr(machine, "open", refuse, raising=False)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert machine.get_processor() == machine.get_processor_flags() == "arm64"
