"""Start or resume a run: from options to a loaded model, its data and the training loop."""

from dataclasses import replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, InitProcessGroupKwargs

from mmtrain.data import packing, redpajama, tokenization
from mmtrain.data.dataset import Split
from mmtrain.data.fingerprint import Fingerprint
from mmtrain.data.loading import find_text_files, load_dialogues
from mmtrain.model import loading
from mmtrain.options import (
    AlignOptions,
    FinetuneOptions,
    PretrainOptions,
    RunOptions,
    StartOptions,
)
from mmtrain.run import folder, plan, provenance, state
from mmtrain.run.console import RunConsole
from mmtrain.run.loop import Loop
from mmtrain.run.optimizers import choose_optimizer
from mmtrain.stages import align, finetune, pretrain
from mmtrain.stages.stage import Stage
from mmtui.errors import MissingError, UsageError
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets.checkpoint import PRESETS, Checkpoint
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.engines import torch_language

PHI2_TOKENS = 50295  # tokens of Phi-2's tokenizer


def launch(options: RunOptions, start: StartOptions, report: Report) -> None:
    """Start a run, resume one, or print the plan of one.

    Args:
        options: The options of the command line; --resume and --config take the others from a
            run.json.
        start: How the run is started.
        report: Called with the progress of downloads and of reading the data.

    Raises:
        UsageError: The folder is in use, or the run can't be resumed with these options.
        MmtuiError: The run will not fit into memory, or fails.
        KeyboardInterrupt: The run was interrupted, after its state was saved.
    """
    out = folder.locate(options.stage, start)
    record = None
    if start.resume is not None or not start.dry_run:
        record = folder.find_record(out, start.resume)
    if record is not None:
        options = folder.resume_options(out, record, options, start.explicit)
    elif start.config is not None:
        options = folder.load_options(start.config, options, start.explicit)
    if options.track and find_spec(options.track) is None:
        raise MissingError(f"{options.track} is not installed", f"pip install {options.track}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    options = replace(options, precision=loading.resolve_precision(options.precision, device))
    accelerator = _make_accelerator(options, out, device)
    console = RunConsole(options.stage, options.steps, is_enabled=accelerator.is_main_process)
    newest = state.find_newest(out, console.print) if record is not None else None
    if newest is not None and _is_finished(newest[0], options, out, console):
        return
    found = loading.find_checkpoint(options.model)
    options = _resolve_defaults(options, found, accelerator)
    torch.manual_seed(options.seed)
    if start.dry_run and plan.has_missing_weights(options, found):
        split = _read_dialogues(options, accelerator, console)
        report("starting", 1, 1)
        plan.print_plan(options, found, split, accelerator, console, start.force)
        return
    stage = _build(options, found, accelerator, console, start.force, report)
    loop = Loop(stage, options, out, accelerator, console)
    if not start.dry_run:
        stage.prepare()
        record = _make_record(options, found, stage, accelerator, out, record)
    report("starting", 1, 1)  # ends the progress bar: that of the run follows
    loop.check(start.force)
    if not start.dry_run:
        assert record is not None
        _train(loop, options, record, newest, out, accelerator, console)
        console.print(f"done; the model is in {out}")


def _make_accelerator(options: RunOptions, out: Path, device: torch.device) -> Accelerator:
    # The other processes may wait for hours while one tokenizes or encodes.
    process_group = InitProcessGroupKwargs(timeout=timedelta(days=2))
    return Accelerator(
        kwargs_handlers=[process_group],
        mixed_precision="bf16" if options.precision == "bf16" else "no",
        log_with=options.track,
        project_dir=out,
        cpu=device.type == "cpu",
    )


def _is_finished(step: int, options: RunOptions, out: Path, console: RunConsole) -> bool:
    """Return whether a run has no step left after `step`, and print it.

    Raises:
        UsageError: The run has taken more steps than it should.
    """
    if step > options.steps:
        raise UsageError(
            f"the run in {out} has taken {step:,} steps already", f"pass --steps {step} or more"
        )
    if step == options.steps:
        console.print(
            f"the run in {out} is finished: {step:,} of {options.steps:,} steps are taken;"
            " a larger --steps prolongs it"
        )
    return step == options.steps


def _resolve_defaults(
    options: RunOptions, found: Checkpoint, accelerator: Accelerator
) -> RunOptions:
    """Replace the defaults that depend on the machine or the model, as run.json records them."""
    if options.model == "auto":
        model = found.spec.name
    else:
        is_folder = options.model not in PRESETS and Path(options.model).is_dir()
        model = str(Path(options.model).absolute()) if is_folder else options.model
    is_sharded = accelerator.distributed_type == DistributedType.FSDP
    optimizer = choose_optimizer(options.optimizer, accelerator.device, is_sharded)
    options = replace(options, model=model, optimizer=optimizer)
    return (
        finetune.resolve_lora(options, found) if isinstance(options, FinetuneOptions) else options
    )


def _build(
    options: RunOptions,
    found: Checkpoint,
    accelerator: Accelerator,
    console: RunConsole,
    force: bool,
    report: Report,
) -> Stage:
    if isinstance(options, PretrainOptions):
        return _build_pretrain(options, found, accelerator, console, force, report)
    split = _read_dialogues(options, accelerator, console)
    if isinstance(options, AlignOptions):
        loading.require_vision(found)
        components = loading.load_components(
            found, options.precision, accelerator.device, report, merge_adapter=False
        )
        return align.build(components, split, options, accelerator, console.print)
    assert isinstance(options, FinetuneOptions)
    if found.projector_weights is None:
        console.print(
            f"NOT ALIGNED: {found.spec.name} has no projector; a new one is fitted to captions. For"
            " better results, run `mmtrain align` first and pass its folder with --from"
        )
    stored = "nf4" if options.quantize == "nf4" else options.precision
    components = loading.load_components(
        found, stored, accelerator.device, report, merge_adapter=False
    )
    return finetune.build(components, split, options, accelerator, console.print)


def _build_pretrain(
    options: PretrainOptions,
    found: Checkpoint,
    accelerator: Accelerator,
    console: RunConsole,
    force: bool,
    report: Report,
) -> Stage:
    shape = pretrain.make_config(options.size)
    plan.check_pretrain_memory(options, shape, accelerator, force)
    with accelerator.main_process_first():
        paths = options.validation or []
        validation = [file for path in paths for file in redpajama.find_files(path)]
        excluded = {file.resolve() for file in validation}
        named = find_text_files(options.data or [], console.print)
        files = [file for file in named if file.resolve() not in excluded]
        tokenizer = _load_tokenizer(files, shape.vocab_size, report)
        packed = packing.pack_documents(files, validation, tokenizer, report)
    for note in packed.notes:
        console.print(f"note: {note}")
    return pretrain.build(shape, tokenizer, packed, options, found.spec, accelerator)


def _read_dialogues(options: RunOptions, accelerator: Accelerator, console: RunConsole) -> Split:
    images = options.images if isinstance(options, FinetuneOptions) else None
    with accelerator.main_process_first():
        return load_dialogues(options.data or [], options.stage, images, console.print)


def _make_record(
    options: RunOptions,
    found: Checkpoint,
    stage: Stage,
    accelerator: Accelerator,
    out: Path,
    before: dict[str, Any] | None,
) -> dict[str, Any]:
    """Make the content of run.json, from that of a resumed run if `before` is not None.

    Raises:
        UsageError: The resumed run was started with another model, other data or other processes.
    """
    start = provenance.describe_start()
    is_new = isinstance(options, PretrainOptions)
    now = {
        "stage": options.stage,
        **start,
        "options": folder.options_to_json(options),
        "processes": accelerator.num_processes,
        "checkpoint_sha256": None if is_new else provenance.hash_checkpoint(found),
        "fingerprint": _fingerprint_data(stage),
    }
    if before is None:
        return now
    folder.check_same_start(out, before, now)
    folder.check_same_data(out, before, now["fingerprint"])
    resumed = [*before.get("resumed", []), start]
    return before | {"options": now["options"], "resumed": resumed}


def _fingerprint_data(stage: Stage) -> dict[str, Fingerprint]:
    """Return the fingerprints of the data, which must be the same when the run is resumed."""
    return {
        "training": stage.train.fingerprint(),
        "validation": stage.validation.fingerprint(),
    }


def _train(
    loop: Loop,
    options: RunOptions,
    record: dict[str, Any],
    newest: tuple[int, Path] | None,
    out: Path,
    accelerator: Accelerator,
    console: RunConsole,
) -> None:
    lock = None
    if accelerator.is_main_process:
        lock = folder.lock(out)
        folder.write_record(out, record)
    accelerator.wait_for_everyone()
    if not (out / folder.RECORD).exists():
        raise UsageError(
            f"{out} is not the same folder for all processes",
            "choose an --out on a shared file system",
        )
    if options.track:
        settings = {name: str(value) for name, value in record["options"].items()}
        accelerator.init_trackers("mmtrain", settings)
    try:
        loop.run(newest)
    finally:
        console.close()
        accelerator.end_training()
        if lock is not None:
            lock.release()


def _load_tokenizer(files: list[Path], vocabulary: int, report: Report) -> Any:
    """Load Phi-2's tokenizer if it is downloaded and the vocabulary has room for it.

    Otherwise a tokenizer is trained on the data.
    """
    phi2 = fetch.locate(checkpoint.find("phi2").spec.language.weights)
    if phi2 is not None and vocabulary >= PHI2_TOKENS:
        return torch_language.load_tokenizer(phi2)
    return tokenization.train_tokenizer(files, vocabulary, report)
