"""From the options of a stage's command to a run of the loop."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from mmtrain import parts as loading
from mmtrain import runs, state
from mmtrain.data import packing, redpajama, sources
from mmtrain.data.features import View
from mmtrain.data.fingerprint import Fingerprint
from mmtrain.loop import Loop
from mmtrain.screen import Screen
from mmtrain.stage import Options, Precision, Stage
from mmtrain.stages import align, finetune, pretrain
from mmtrain.stages.finetune import Lora, Quantize
from mmtrain.starts import Start
from mmtui.errors import MissingError, UsageError
from mmtui.pipeline import assets, checkpoint, language
from mmtui.pipeline.assets import Report
from mmtui.pipeline.projector import Kind

PHI2_TOKENS = 50295


@dataclass(frozen=True)
class Where:
    """What a run is given beside its options: these may differ when it resumes."""

    out: Path
    resume: str | None
    dry_run: bool
    track: str | None


@dataclass(frozen=True)
class Common:
    """What every stage takes. `data` empty: looked for."""

    data: list[Path]
    model: str
    precision: Precision
    options: Options


def run_pretrain(
    common: Common, where: Where, size: str, block: int, held_out: list[Path], report: Report
) -> None:
    def build(accelerator: Accelerator, screen: Screen) -> Stage:
        shape = pretrain.config(size)
        base = loading.find(common.model)
        with accelerator.main_process_first():
            validation = [file for path in held_out for file in redpajama.files(path)]
            held = {file.resolve() for file in validation}
            named = sources.text(common.data, screen.say)
            files = [file for file in named if file.resolve() not in held]
            tokenizer = _tokenizer(files, shape.vocab_size, report)
            packed = packing.pack(files, validation, tokenizer, report)
        for note in packed.notes:
            screen.say(f"note: {note}")
        return pretrain.build(shape, tokenizer, packed, block, base.spec, accelerator)

    _run(
        "pretrain",
        common,
        where,
        {"size": size, "block": block, "held_out": held_out},
        build,
        report,
    )


def run_align(
    common: Common,
    where: Where,
    kind: Kind,
    start: Start,
    limit: int,
    views: tuple[View, ...],
    report: Report,
) -> None:
    def build(accelerator: Accelerator, screen: Screen) -> Stage:
        found = loading.find(common.model)
        loading.needs_sight(found)
        with accelerator.main_process_first():
            split = sources.dialogues(common.data, "align", None, screen.say)
        precision = loading.training_precision(common.precision, accelerator.device)
        parts = loading.load(found, precision, accelerator.device, report, adapted=False)
        return align.build(
            parts, split, kind=kind, start=start, limit=limit, views=views,
            accelerator=accelerator, say=screen.say,
        )  # fmt: skip

    extra = {"projector": kind, "init": start, "max_length": limit, "views": views}
    _run("align", common, where, extra, build, report)


def run_finetune(
    common: Common,
    where: Where,
    lora: Lora,
    patch_dropout: float,
    quantize: Quantize,
    checkpointing: bool,
    images: Path | None,
    limit: int,
    views: tuple[View, ...],
    report: Report,
) -> None:
    def build(accelerator: Accelerator, screen: Screen) -> Stage:
        found = loading.find(common.model)
        if found.projector is None:
            screen.say(
                f"NOT ALIGNED: {found.spec.name} has no projector, it begins from captions; after"
                " `mmtrain align`, --from its folder, it learns more"
            )
        with accelerator.main_process_first():
            split = sources.dialogues(common.data, "finetune", images, screen.say)
        plain = loading.training_precision(common.precision, accelerator.device)
        precision = "nf4" if quantize == "nf4" else plain
        parts = loading.load(found, precision, accelerator.device, report, adapted=False)
        return finetune.build(
            parts, split, lora=lora, patch_dropout=patch_dropout, checkpointing=checkpointing,
            limit=limit, views=views, accelerator=accelerator, say=screen.say,
        )  # fmt: skip

    extra = {
        **asdict(lora), "patch_dropout": patch_dropout, "quantize": quantize,
        "checkpointing": checkpointing, "images": images, "max_length": limit, "views": views,
    }  # fmt: skip
    _run("finetune", common, where, extra, build, report)


def _run(
    name: str,
    common: Common,
    where: Where,
    extra: dict[str, Any],
    build: Callable[[Accelerator, Screen], Stage],
    report: Report,
) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = loading.training_precision(common.precision, device)
    if where.track and find_spec(where.track) is None:
        raise MissingError(f"{where.track} is not installed", f"pip install {where.track}")
    # One process may tokenize or encode for hours while the others wait.
    patience = InitProcessGroupKwargs(timeout=timedelta(days=2))
    accelerator = Accelerator(
        kwargs_handlers=[patience],
        mixed_precision="bf16" if precision == "bf16" else "no",
        log_with=where.track,
        project_dir=where.out,
        cpu=device.type == "cpu",
    )
    screen = Screen(name, common.options.steps, speaks=accelerator.is_main_process)
    settings = _plain(
        {
            "stage": name,
            "model": common.model,
            "data": [p.resolve() for p in common.data],
            "precision": precision,
        }
        | {"processes": accelerator.num_processes}
        | asdict(common.options)
        | extra
    )
    goes_on = not where.dry_run and runs.check(where.out, where.resume, settings)
    torch.manual_seed(common.options.seed)
    stage = build(accelerator, screen)
    loop = Loop(stage, common.options, where.out, accelerator, screen)
    if not where.dry_run:
        stage.prepare()
        settings["fingerprint"] = _fingerprint(stage)
        if goes_on:
            runs.compare_data(where.out, settings["fingerprint"])
    report("starting", 1, 1)  # the bar of the run takes over
    loop.check()
    if not where.dry_run:
        lock = runs.claim(where.out, settings) if accelerator.is_main_process else None
        accelerator.wait_for_everyone()
        if not (where.out / runs.FILE).exists():
            raise UsageError(
                f"{where.out} is not one folder for all processes", "--out on a shared file system"
            )
        if where.track:
            accelerator.init_trackers("mmtrain", {k: str(v) for k, v in settings.items()})
        try:
            loop.run(state.newest(where.out, screen.say) if goes_on else None)
        finally:
            screen.close()
            accelerator.end_training()
            if lock is not None:
                lock.release()
        screen.say(f"done; the model is in {where.out}")


def _fingerprint(stage: Stage) -> dict[str, Fingerprint]:
    """Of the data that a resumed run must find again."""
    return {
        "training": stage.train.fingerprint(),
        "validation": stage.validation.fingerprint(),
    }


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    plain: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return plain


def _tokenizer(files: list[Path], vocabulary: int, report: Report) -> Any:
    """Phi-2's if it is here and the vocabulary is its; else one learnt on the data."""
    phi2 = assets.locate(checkpoint.find("phi2").spec.language.weights)
    if phi2 is not None and vocabulary >= PHI2_TOKENS:
        return language.tokenizer_in(phi2)
    return packing.learnt_tokenizer(files, vocabulary, report)
