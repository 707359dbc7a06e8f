"""`mmtui bench`: how fast a model is on this machine."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmtui.cli.options import MmprojOption
from mmtui.errors import UsageError
from mmtui.paths import resolve
from mmtui.pipeline.assets.spec import EngineChoice, Precision
from mmtui.progress import print_json, reporting

if TYPE_CHECKING:
    from mmtui.bench.busy import BusySpeed
    from mmtui.bench.measure import BenchmarkResult
    from mmtui.bench.start import StartTimes
    from mmtui.pipeline.assets.checkpoint import Checkpoint
    from mmtui.pipeline.assets.fetch import Report


def bench(
    model: Annotated[
        str,
        typer.Option("--model", metavar="MODEL", help="Model to measure; see `mmtui ask --help`."),
    ] = "auto",
    mmproj: MmprojOption = None,
    engine: Annotated[
        EngineChoice | None,
        typer.Option("--engine", help="Engine to measure; see `mmtui ask --help`."),
    ] = None,
    precision: Annotated[
        Precision | None,
        typer.Option("--precision", help="Precision of the weights. Default: that of the model."),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(
            "--image",
            parser=resolve,
            metavar="FILE",
            help="Picture to ask about, so that vision is measured too.",
        ),
    ] = None,
    random_weights: Annotated[
        bool,
        typer.Option(
            "--random-weights",
            help="Measure a model of the preset's shape with random weights, without fetching it.",
        ),
    ] = False,
    busy: Annotated[
        bool,
        typer.Option(
            "--busy",
            help="Also measure decoding beside one and two busy processes, which takes a minute.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON document.")
    ] = False,
) -> None:
    """Measure how fast a model is on this machine.

    Reports the time that a start takes by parts, the time to the first token, the speed of
    decoding, the memory, and which share of the memory's bandwidth decoding uses.
    """
    from mmtui.chat.config import resolve_model
    from mmtui.pipeline import input_files
    from mmtui.pipeline.assets.gguf_files import add_mmproj

    model, chosen = resolve_model(model, engine)
    if mmproj is not None:
        model = add_mmproj(model, mmproj)
    picture = input_files.read_picture(image) if image else None
    with (
        reporting() as report,
        _checkpoint(model, chosen, precision, report, random_weights) as found,
    ):
        from mmtui.bench import measure as measuring
        from mmtui.bench.busy import measure_busy
        from mmtui.bench.start import measure_start

        if picture is not None and not found.can_see:
            name = f"{found.spec.name}{' with random weights' if random_weights else ''}"
            raise UsageError(f"{name} can't see", "leave --image out")
        result = measuring.measure(found, chosen, picture, report)
        start = measure_start(found, chosen)
        speeds = measure_busy(found, chosen, report) if busy else []
    machine = measuring.describe_machine()
    if as_json:
        print_json(
            vars(result)
            | {"start": vars(start) | {"total": start.total}}
            | ({"busy": [vars(speed) | {"ratio": speed.ratio} for speed in speeds]} if busy else {})
            | {"random_weights": random_weights, "machine": machine}
        )
    else:
        rows = [*_list_start(start), *_list_results(result), *_list_busy(speeds)]
        _print(result, rows, machine, random_weights)


@contextmanager
def _checkpoint(
    model: str,
    engine: EngineChoice,
    precision: Precision | None,
    report: "Report",
    random_weights: bool,
) -> "Iterator[Checkpoint]":
    """Find the model; write one with random weights, which is removed afterwards."""
    from mmtui.pipeline.assets import checkpoint, fetch
    from mmtui.pipeline.engines import selection

    found = checkpoint.find(model)
    if precision is not None and found.gguf is not None:
        raise UsageError(
            f"{found.spec.name} has the precision of its file", "leave --precision out"
        )
    if precision is not None:
        found = found.with_precision(precision)
    with ExitStack() as stack:
        if random_weights:
            from mmtui.bench import random_weights as random_checkpoints

            runs_on = selection.prefer_engine().engine if engine == "auto" else engine
            needed = random_checkpoints.estimate_size(found, runs_on)
            folder = stack.enter_context(fetch.workspace("random-weights", needed))
            found = random_checkpoints.write_checkpoint(found, runs_on, folder, report)
        yield found


def _print(
    result: "BenchmarkResult",
    rows: list[tuple[str, str]],
    machine: dict[str, Any],
    random_weights: bool,
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    suffix = ", random" if random_weights else ""
    table = Table(
        title=Text(f"{result.model} on {result.engine}, {result.weights}{suffix}"),
        caption=Text(f"{machine['processor']}, {machine['cores']} cores, {machine['date']}"),
        show_header=False,
    )
    table.add_column()
    table.add_column(justify="right")
    for name, value in rows:
        table.add_row(name, value)
    Console().print(table)


def _list_start(start: "StartTimes") -> Iterator[tuple[str, str]]:
    yield "start of a new process", f"{start.total:.2f} s"
    yield "  imports", f"{start.imports:.2f} s"
    yield "  language model", f"{start.language:.2f} s"
    if start.vision:
        yield "  vision", f"{start.vision:.2f} s"
    yield "  first token", f"{start.first_token:.2f} s"


def _list_busy(speeds: "list[BusySpeed]") -> Iterator[tuple[str, str]]:
    for speed in speeds:
        processes = "process" if speed.processes == 1 else "processes"
        best = max(speed.fixed, key=speed.fixed.__getitem__)
        threads = "thread" if best == 1 else "threads"
        yield f"decode beside {speed.processes} busy {processes}", f"{speed.following:.1f} tokens/s"
        yield f"  with {best} {threads}, the best fixed number", f"{speed.fixed[best]:.1f} tokens/s"


def _list_results(result: "BenchmarkResult") -> Iterator[tuple[str, str]]:
    yield "load", f"{result.load_s:.2f} s"
    yield "first token, cold", f"{result.first_token_cold_s:.3f} s"
    yield "first token, warm", f"{result.first_token_warm_s:.3f} s"
    cached = result.second_turn_cached_tokens
    second = f"{result.first_token_second_turn_s:.3f} s"
    yield f"first token, second turn ({cached} tokens kept)", second
    prefill = f"{result.prefill_tokens_per_s:.0f} tokens/s"
    yield f"prefill of {result.prefill_tokens} tokens", prefill
    yield "decode", f"{result.decode_tokens_per_s:.1f} tokens/s"
    if result.image_s is not None:
        yield "a picture", f"{result.image_s:.3f} s"
    yield "peak memory", f"{result.peak_bytes / 2**30:.2f} GiB"
    yield "weights read for each token", f"{result.bytes_per_token / 1e6:.0f} MB"
    yield "memory is read at", f"{result.read_bytes_per_s / 1e9:.1f} GB/s"
    yield "so at the most", f"{result.limit_tokens_per_s:.0f} tokens/s"
    yield "reached", f"{result.fraction_of_limit:.0%}"
