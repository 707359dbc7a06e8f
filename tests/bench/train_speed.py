"""What a training step takes, here and in another commit, and how long a GPU waits in it.

    git worktree add ../before COMMIT
    python tests/bench/train_speed.py --before ../before

Each measurement is a process of its own that runs `mmtrain` on generated drawings; the two commits
take turns. Nothing is fetched, except smol on a CPU. After `--minutes`, no measurement starts, and
one that runs is ended; those before it count. Prints a table on stderr and one JSON document on
stdout:

- "step_s", "cpu_s": seconds of a step, and CPU seconds of the process, the median and the minimum.
- "tokens_per_s": tokens that the language model reads, without padding; the median.
- "gpu_waits": on a GPU, the share of the time in which no kernel or copy runs.
- "launches": on a GPU, kernels and copies in a step.

The last two are those of torch's profiler, and are left out where it may not read the GPU's
counters. The default is QLoRA of phi2's shape with random weights on a GPU (8 GB of disk), and smol
on a CPU. `--narrow` has phi2's depth and next to no arithmetic: on a CPU, "cpu_s"
is then what launching the operations of a step takes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

NARROW = {
    "hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 4,
    "num_key_value_heads": 4, "vocab_size": 512,
}  # fmt: skip
WARMUP_STEPS, PROFILED_STEPS = 3, 3
HERE = Path(__file__).parents[2]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--before", type=Path, help="the tree of the commit to compare with")
    options.add_argument("--stage", choices=["align", "finetune"], default="finetune")
    options.add_argument("--model", choices=["smol", "phi2"], help="default: phi2 on a GPU")
    options.add_argument("--narrow", action="store_true", help="phi2's depth, with narrow layers")
    options.add_argument("--quantize", choices=["nf4", "none"], default="nf4")
    options.add_argument("--batch", type=int, help="default: that of the stage")
    options.add_argument("--accumulation", type=int, help="default: that of the stage")
    options.add_argument("--steps", type=int, default=6, help="steps that are timed")
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--minutes", type=float, default=9.0, help="time limit of all together")
    options.add_argument("--pictures", type=int, default=400, help="drawings that are generated")
    options.add_argument("--data", type=Path, help="default: drawings that are generated")
    options.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments)))
        return
    trees = {"before": arguments.before, "now": HERE} if arguments.before else {"now": HERE}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in trees}
    deadline = time.monotonic() + 60 * arguments.minutes
    for number, (name, tree) in enumerate(list(trees.items()) * arguments.rounds):
        try:
            found[name].append(run_measurement(tree, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            print(f"out of time after {number} measurements", file=sys.stderr)
            break
        print(name, json.dumps(found[name][-1]), file=sys.stderr)
    if not all(found.values()):
        sys.exit("no figures: raise --minutes")
    figures = {name: summarize(results) for name, results in found.items()}
    print(format_table(figures), file=sys.stderr)
    print(json.dumps({"figures": figures, "machine": describe_machine()}, indent=2))


def run_measurement(tree: Path, timeout_s: float) -> dict[str, Any]:
    """Return the figures of a commit, measured in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        output = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--measure"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": str(tree.resolve()), "TMPDIR": folder},
            timeout=max(timeout_s, 0),
        ).stdout
    figures: dict[str, Any] = json.loads(output.splitlines()[-1])
    return figures


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run a stage, and return the figures of its steps."""
    import torch

    from mmtrain.options import StartOptions
    from mmtrain.run import launch
    from mmtrain.run.console import RunConsole
    from mmtui.pipeline.assets.fetch import ignore_progress

    total = WARMUP_STEPS + arguments.steps
    has_gpu = torch.cuda.is_available()
    stamps: list[tuple[float, float, float]] = []
    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])

    def record(_: RunConsole, line: dict[str, Any], tokens_per_s: float) -> None:
        stamps.append((time.perf_counter(), time.process_time(), tokens_per_s))
        if has_gpu and line["step"] == total:
            torch.cuda.synchronize()
            profiler.start()
        if has_gpu and line["step"] == total + PROFILED_STEPS:
            torch.cuda.synchronize()
            profiler.stop()

    RunConsole.show_step = record  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        launch.launch(
            make_options(arguments, folder, total + (PROFILED_STEPS if has_gpu else 0)),
            StartOptions(out=folder / "run", force=True),
            ignore_progress,
        )
    timed = stamps[WARMUP_STEPS - 1 : total]
    steps_s = [now[0] - before[0] for before, now in pairwise(timed)]
    cpu_s = [now[1] - before[1] for before, now in pairwise(timed)]
    result = {
        "step_s": steps_s,
        "cpu_s": cpu_s,
        "tokens_per_s": [speed for _, _, speed in timed[1:]],
    }
    return result | (summarize_kernels(profiler) if has_gpu else {})


def summarize_kernels(profiler: Any) -> dict[str, float]:
    """Return the share of the time in which a GPU does nothing, and its launches per step.

    Returns nothing if the profiler recorded no kernel.
    """
    import torch

    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profiler.events()
        if event.device_type == torch.autograd.DeviceType.CUDA and not event.is_user_annotation
    )
    if not spans:
        print("the profiler recorded no kernel", file=sys.stderr)
        return {}
    busy, end = 0.0, spans[0][0]
    for start, stop in spans:
        busy += max(stop - max(start, end), 0)
        end = max(end, stop)
    return {"gpu_waits": 1 - busy / (end - spans[0][0]), "launches": len(spans) / PROFILED_STEPS}


def make_options(arguments: argparse.Namespace, folder: Path, steps: int) -> Any:
    """Return the options of the run; what it reads is written to `folder`."""
    import torch

    from mmtrain.data import shapes
    from mmtrain.options import AlignOptions, FinetuneOptions

    is_align = arguments.stage == "align"
    common: dict[str, Any] = {
        "data": [arguments.data] if arguments.data else None,
        "model": arguments.model or ("phi2" if torch.cuda.is_available() else "smol"),
        "steps": steps,
        "val_limit": 0,
        "save_every": 10**6,
        "save_minutes": 0.0,
    }
    sizes = {"batch": arguments.batch, "accumulation": arguments.accumulation}
    common |= {name: size for name, size in sizes.items() if size}
    if not arguments.data:
        shapes.generate(folder / "shapes", arguments.pictures, seed=0)
        common["data"] = [folder / "shapes" / ("" if is_align else "llava_instruct.json")]
    if common["model"] == "phi2" or arguments.narrow:
        common["model"] = str(write_model(folder / "model", arguments.narrow))
    if is_align:
        return AlignOptions(**common, init="random")
    images = None if arguments.data else folder / "shapes" / "train2017"
    return FinetuneOptions(**common, images=images, quantize=arguments.quantize)


def write_model(folder: Path, is_narrow: bool) -> Path:
    """Write phi2 with random weights, and return its folder."""
    from safetensors.torch import load_file

    from mmtui.bench import random_weights
    from mmtui.pipeline.assets import checkpoint

    # Commits before 2026-11-29 have other names.
    write = getattr(random_weights, "write_checkpoint", None) or random_weights.checkpoint
    configs = getattr(random_weights, "LANGUAGE_CONFIGS", None) or random_weights.LANGUAGE
    if is_narrow:
        configs["phi2"] |= NARROW
    weights = folder / "weights"
    weights.mkdir(parents=True)
    made = write(checkpoint.find("phi2"), "torch", weights)
    checkpoint.write(folder / "checkpoint", made.spec, load_file(made.projector))
    return folder / "checkpoint"


def summarize(results: list[dict[str, Any]]) -> dict[str, float]:
    """Join the rounds of a commit."""
    joined = {
        name: [value for result in results for value in result[name]]
        for name in ("step_s", "cpu_s", "tokens_per_s")
    }
    figures = {name: median(values) for name, values in joined.items()}
    figures |= {f"{name}_min": min(joined[name]) for name in ("step_s", "cpu_s")}
    for name in ("gpu_waits", "launches"):
        if all(name in result for result in results):
            figures[name] = median(result[name] for result in results)
    return figures


def format_table(figures: dict[str, dict[str, float]]) -> str:
    """Return a Markdown table with a row for each figure, and the ratio of two commits."""
    names = list(figures)
    lines = [f"| | {' | '.join(names)} | ratio |", "|---" * (len(names) + 2) + "|"]
    common = [figure for figure in figures["now"] if all(figure in f for f in figures.values())]
    for figure in common:
        values = [figures[name][figure] for name in names]
        ratio = f"{values[0] / values[-1]:.2f}" if len(values) > 1 and values[-1] else ""
        lines.append(f"| {figure} | {' | '.join(f'{v:.4g}' for v in values)} | {ratio} |")
    return "\n".join(lines)


def describe_machine() -> dict[str, Any]:
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


if __name__ == "__main__":
    main()
