"""The number of threads follows what other processes leave free."""

import math
import os

import psutil
import pytest

from mmtui import machine
from mmtui.machine import count_cores
from mmtui.pipeline.engines import threads
from mmtui.pipeline.engines.threads import INTERVAL_S, ThreadCount


class Machine:
    """Cores that a fair scheduler shares out to our threads and to other processes."""

    def __init__(self, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(psutil, "cpu_count", lambda **_: cores)
        self._cores = cores
        self._now = self._total = self._others = 0.0
        self.threads = ThreadCount(
            cores, lambda: (self._total, self._others), clock=lambda: self._now
        )

    def run(self, busy: float, seconds: float = INTERVAL_S) -> None:
        """Let time pass while other processes want `busy` cores; then measure."""
        wanted = self.threads.value + busy
        self._now += seconds
        self._total += self._cores * seconds
        self._others += busy * min(1.0, self._cores / wanted) * seconds
        self.threads.update()


@pytest.mark.parametrize("cores", [1, 2, 4, 8, 64])
def test_a_quiet_machine_uses_all_cores(cores, monkeypatch):
    fake = Machine(cores, monkeypatch)
    for _ in range(5):
        fake.run(busy=0.05)
        assert fake.threads.value == cores


@pytest.mark.parametrize(
    ("cores", "busy", "expected"),
    [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 5, 1), (4, 1, 3), (8, 3, 5), (8, 8, 1), (64, 20, 44)],
)
def test_busy_cores_are_left_to_others_and_taken_back(cores, busy, expected, monkeypatch):
    fake = Machine(cores, monkeypatch)
    for _ in range(10):
        fake.run(busy)
    assert abs(fake.threads.value - expected) <= (1 if cores > 8 else 0)
    for _ in range(2):
        fake.run(busy=0)
    assert fake.threads.value == cores


def test_the_load_is_not_read_from_less_than_a_few_ticks(monkeypatch):
    fake = Machine(2, monkeypatch)
    fake.run(busy=2, seconds=INTERVAL_S / 10)
    assert fake.threads.value == 2


def test_this_process_does_not_count_as_another():
    count = ThreadCount()
    limit = psutil.Process().cpu_times().user + 1
    while psutil.Process().cpu_times().user < limit:
        sum(range(10_000))
    total, others = threads._read_times()
    assert 0 <= others <= total
    count.update()
    assert 1 <= count.value <= count_cores()


@pytest.fixture(autouse=True)
def no_limit(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.mark.parametrize(("value", "expected"), [("1", 1), ("1,4", 1), ("0", 1), ("many", 2)])
def test_omp_num_threads_limits_the_cores(monkeypatch, value, expected):
    monkeypatch.setattr(psutil, "cpu_count", lambda **_: 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert count_cores() == expected


def test_affinity_limits_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert count_cores() == 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu.max": "nonsense"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ({}, math.inf),
    ],
)
def test_the_quota_of_a_container_is_read(files, expected, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine._read_quota(tmp_path) == expected
