"""From the options of a stage's command to a run of the loop."""

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
from mmtrain.run.console import Screen
from mmtrain.run.loop import Loop
from mmtrain.run.optimizers import choose_optimizer
from mmtrain.stages import align, finetune, pretrain
from mmtrain.stages.stage import Stage
from mmtui.errors import MissingError, UsageError
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets.checkpoint import PRESETS, Checkpoint
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.engines import torch_language

PHI2_TOKENS = 50295


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
    screen = Screen(options.stage, options.steps, speaks=accelerator.is_main_process)
    newest = state.newest(out, screen.say) if record is not None else None
    if newest is not None and _is_finished(newest[0], options, out, screen):
        return
    found = loading.find_checkpoint(options.model)
    options = _resolve_defaults(options, found, accelerator)
    torch.manual_seed(options.seed)
    if start.dry_run and plan.is_unfetched(options, found):
        split = _read_dialogues(options, accelerator, screen)
        report("starting", 1, 1)
        plan.describe_unfetched(options, found, split, accelerator, screen, start.force)
        return
    stage = _build(options, found, accelerator, screen, start.force, report)
    loop = Loop(stage, options, out, accelerator, screen)
    if not start.dry_run:
        stage.prepare()
        record = _make_record(options, found, stage, accelerator, out, record)
    report("starting", 1, 1)  # ends the progress bar: that of the run follows
    loop.check(start.force)
    if not start.dry_run:
        assert record is not None
        _train(loop, options, record, newest, out, accelerator, screen)
        screen.say(f"done; the model is in {out}")


def _make_accelerator(options: RunOptions, out: Path, device: torch.device) -> Accelerator:
    # One process may tokenize or encode for hours while the others wait.
    patience = InitProcessGroupKwargs(timeout=timedelta(days=2))
    return Accelerator(
        kwargs_handlers=[patience],
        mixed_precision="bf16" if options.precision == "bf16" else "no",
        log_with=options.track,
        project_dir=out,
        cpu=device.type == "cpu",
    )


def _is_finished(step: int, options: RunOptions, out: Path, screen: Screen) -> bool:
    """Whether a run that stands at `step` has no step left to take, which is said."""
    if step > options.steps:
        raise UsageError(
            f"the run in {out} has taken {step:,} steps already", f"--steps {step} or more"
        )
    if step == options.steps:
        screen.say(
            f"the run in {out} is finished: {step:,} of {options.steps:,} steps are taken;"
            " more --steps prolong it"
        )
    return step == options.steps


def _resolve_defaults(
    options: RunOptions, found: Checkpoint, accelerator: Accelerator
) -> RunOptions:
    """The options with what `auto` stands for here: run.json says what is really trained."""
    if options.model == "auto":
        model = found.spec.name
    else:
        is_folder = options.model not in PRESETS and Path(options.model).is_dir()
        model = str(Path(options.model).absolute()) if is_folder else options.model
    is_sharded = accelerator.distributed_type == DistributedType.FSDP
    optimizer = choose_optimizer(options.optimizer, accelerator.device, is_sharded)
    options = replace(options, model=model, optimizer=optimizer)
    return finetune.fill_in(options, found) if isinstance(options, FinetuneOptions) else options


def _build(
    options: RunOptions,
    found: Checkpoint,
    accelerator: Accelerator,
    screen: Screen,
    force: bool,
    report: Report,
) -> Stage:
    if isinstance(options, PretrainOptions):
        return _build_pretrain(options, found, accelerator, screen, force, report)
    split = _read_dialogues(options, accelerator, screen)
    if isinstance(options, AlignOptions):
        loading.require_vision(found)
        components = loading.load_components(
            found, options.precision, accelerator.device, report, merge_adapter=False
        )
        return align.build(components, split, options, accelerator, screen.say)
    assert isinstance(options, FinetuneOptions)
    if found.projector is None:
        screen.say(
            f"NOT ALIGNED: {found.spec.name} has no projector, it begins from captions; after"
            " `mmtrain align`, --from its folder, it learns more"
        )
    stored = "nf4" if options.quantize == "nf4" else options.precision
    components = loading.load_components(
        found, stored, accelerator.device, report, merge_adapter=False
    )
    return finetune.build(components, split, options, accelerator, screen.say)


def _build_pretrain(
    options: PretrainOptions,
    found: Checkpoint,
    accelerator: Accelerator,
    screen: Screen,
    force: bool,
    report: Report,
) -> Stage:
    shape = pretrain.config(options.size)
    plan.check_pretrain(options, shape, accelerator, force)
    with accelerator.main_process_first():
        held_out = options.validation or []
        validation = [file for path in held_out for file in redpajama.find_files(path)]
        held = {file.resolve() for file in validation}
        named = find_text_files(options.data or [], screen.say)
        files = [file for file in named if file.resolve() not in held]
        tokenizer = _tokenizer(files, shape.vocab_size, report)
        packed = packing.pack_documents(files, validation, tokenizer, report)
    for note in packed.notes:
        screen.say(f"note: {note}")
    return pretrain.build(shape, tokenizer, packed, options, found.spec, accelerator)


def _read_dialogues(options: RunOptions, accelerator: Accelerator, screen: Screen) -> Split:
    images = options.images if isinstance(options, FinetuneOptions) else None
    with accelerator.main_process_first():
        return load_dialogues(options.data or [], options.stage, images, screen.say)


def _make_record(
    options: RunOptions,
    found: Checkpoint,
    stage: Stage,
    accelerator: Accelerator,
    out: Path,
    before: dict[str, Any] | None,
) -> dict[str, Any]:
    """What run.json will hold. A run that goes on (`before`) must find what it began with.

    Raises:
        UsageError: It does not.
    """
    start = provenance.describe_start()
    is_new = isinstance(options, PretrainOptions)
    now = {
        "stage": options.stage,
        **start,
        "options": folder.options_to_json(options),
        "processes": accelerator.num_processes,
        "checkpoint_sha256": None if is_new else provenance.checkpoint_sha256(found),
        "fingerprint": _fingerprint(stage),
    }
    if before is None:
        return now
    folder.check_same_start(out, before, now)
    folder.check_same_data(out, before, now["fingerprint"])
    resumed = [*before.get("resumed", []), start]
    return before | {"options": now["options"], "resumed": resumed}


def _fingerprint(stage: Stage) -> dict[str, Fingerprint]:
    """Of the data that a resumed run must find again."""
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
    screen: Screen,
) -> None:
    lock = None
    if accelerator.is_main_process:
        lock = folder.lock(out)
        folder.write_record(out, record)
    accelerator.wait_for_everyone()
    if not (out / folder.RECORD).exists():
        raise UsageError(
            f"{out} is not one folder for all processes", "--out on a shared file system"
        )
    if options.track:
        settings = {name: str(value) for name, value in record["options"].items()}
        accelerator.init_trackers("mmtrain", settings)
    try:
        loop.run(newest)
    finally:
        screen.close()
        accelerator.end_training()
        if lock is not None:
            lock.release()


def _tokenizer(files: list[Path], vocabulary: int, report: Report) -> Any:
    """Phi-2's if it is here and the vocabulary is its; else one learnt on the data."""
    phi2 = fetch.locate(checkpoint.find("phi2").spec.language.weights)
    if phi2 is not None and vocabulary >= PHI2_TOKENS:
        return torch_language.tokenizer_in(phi2)
    return tokenization.train_tokenizer(files, vocabulary, report)
