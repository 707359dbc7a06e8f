"""The benchmark of a training step runs, without the network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "bench" / "train_speed.py"
ROOT = BENCHMARK.parents[2]


@pytest.mark.slow
def test_a_step_is_measured(tmp_path):
    command = [
        *(sys.executable, str(BENCHMARK), "--narrow", "--stage", "align", "--before", str(ROOT)),
        *("--steps", "2", "--rounds", "1", "--batch", "2", "--accumulation", "1"),
        *("--pictures", "10"),
    ]
    offline = {"HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(tmp_path)}
    output = subprocess.run(command, env=os.environ | offline, stdout=subprocess.PIPE, check=True)
    figures = json.loads(output.stdout)["figures"]
    for name in ("before", "now"):
        assert figures[name]["step_s"] >= figures[name]["step_s_min"] > 0
        assert figures[name]["cpu_s"] > 0 and figures[name]["tokens_per_s"] > 0


def test_the_share_in_which_a_gpu_waits_is_that_without_kernels(monkeypatch, capsys):
    from types import SimpleNamespace

    from torch.autograd import DeviceType

    monkeypatch.syspath_prepend(str(BENCHMARK.parent))
    import train_speed

    def event(start: int, end: int, device: DeviceType = DeviceType.CUDA, note: bool = False):
        span = SimpleNamespace(start=start, end=end)
        return SimpleNamespace(time_range=span, device_type=device, is_user_annotation=note)

    events = [
        *(event(0, 10), event(5, 20), event(30, 40)),  # two overlap, and nothing runs in 20..30
        *(event(0, 99, DeviceType.CPU), event(0, 99, note=True)),
    ]
    figures = train_speed.summarize_kernels(SimpleNamespace(events=lambda: events))
    assert figures == {"gpu_waits": 0.25, "launches": 1.0}
    assert train_speed.summarize_kernels(SimpleNamespace(events=list)) == {}
    assert "no kernel" in capsys.readouterr().err
