"""Compare align with the loop that it replaces, and finetune with transformers.Trainer.

    python tests/bench/training.py --data ../shared/data

Each measurement runs in a new process, on the same batches, weights, threads and dtype; the faster
of two rounds counts. Prints one JSON document. The baselines:

- "original": align as the first version of this project did it. The tower runs on each batch;
  each caption token needs a full forward pass without a cache, and the most probable token is the
  next input.
- "trainer": transformers.Trainer with the same LoRA, projector and cached features, and the model's
  own loss over all positions.
"""

import argparse
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmtrain.data import coco, llava
from mmtrain.data.dataset import Example
from mmtrain.data.dialogue_dataset import Batch, DialogueDataset
from mmtrain.data.features import decode_view
from mmtrain.model import loading
from mmtrain.model.modules import VisionLanguage
from mmtrain.run import memory, optimizers
from mmtrain.stages.finetune import Lora, adapt
from mmtui.memory import measure_peak
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets.fetch import ignore_progress
from mmtui.pipeline.multimodal import embed
from mmtui.pipeline.prompt import IGNORE_INDEX
from mmtui.pipeline.vision.tower import VisionTower

WARM, COUNTED, LONGEST = 1, 4, 34
CPU = torch.device("cpu")
CASES = {
    "align, original, batch 2": ("original", 2),
    "align, ours, batch 2": ("align", 2),
    "align, ours, batch 16": ("align", 16),
    "finetune, trainer, batch 8": ("trainer", 8),
    "finetune, ours, batch 8": ("finetune", 8),
}


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--case")
    arguments = options.parse_args()
    if arguments.case:
        print(json.dumps(measure(*CASES[arguments.case], arguments.data)))
        return
    found: dict[str, Any] = {}
    for _ in range(2):
        for case in CASES:
            command = [sys.executable, __file__, "--data", arguments.data, "--case", case]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            result = json.loads(output.splitlines()[-1])
            if case not in found or result["steps_per_s"] > found[case]["steps_per_s"]:
                found[case] = result
            print(case, result, file=sys.stderr)
    original, two, sixteen, trainer, ours = (found[case] for case in CASES)
    ratios = {
        "align, steps/s, batch 2": two["steps_per_s"] / original["steps_per_s"],
        "align, samples/s, batch 16": sixteen["samples_per_s"] / original["samples_per_s"],
        "align, peak memory, batch 2": two["peak_gib"] / original["peak_gib"],
        "finetune, samples/s": ours["samples_per_s"] / trainer["samples_per_s"],
        "finetune, peak memory": ours["peak_gib"] / trainer["peak_gib"],
    }
    machine = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    print(json.dumps({"ratios": ratios, "cases": found, "machine": machine}, indent=2))


def measure(kind: str, size: int, data: Path) -> dict[str, float]:
    torch.manual_seed(0)
    components = loading.load_components(checkpoint.find("smol"), "bf16", CPU, ignore_progress)
    module = VisionLanguage(
        components.language.model, nn.Linear(components.shape[1], components.language.hidden_size)
    )
    if kind in ("original", "align"):
        examples = coco.load_examples(data / "captions").train
        short = [e for e in examples if len(_caption(components, e)) < LONGEST]
        chosen = short[:: len(short) // (size * (WARM + COUNTED))]
    else:
        chosen = llava.load_examples(data / "instruct").train
        adapt(components, Lora(16, 16, 0.0), checkpointing=False)
    chosen = chosen[: size * (WARM + COUNTED)]
    dataset = DialogueDataset(chosen, components.chat, components.store, components.shape, 1024)
    assert components.store is not None
    components.store.ensure(dataset.pictures)
    batches = [list(range(at, at + size)) for at in range(0, len(chosen), size)]
    memory.reset_peak()
    times = _trainer(module, dataset, batches) if kind == "trainer" else []
    if kind != "trainer":
        tower = _tower(components) if kind == "original" else None
        rates = {"projector": 1e-4, "language": 1e-4}
        optimizer = optimizers.build_optimizer("adamw", module, rates, 0.0)
        for indexes in batches:
            start = time.perf_counter()
            if tower is None:
                batch = dataset.batch(indexes)
                with torch.autocast("cpu", torch.bfloat16):
                    loss = module(batch) / (batch.labels != IGNORE_INDEX).sum()
            else:
                loss = _original(components, module, tower, [chosen[index] for index in indexes])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            times.append(time.perf_counter() - start)
    seconds = sum(times[WARM:]) / len(times[WARM:])
    return {
        "steps_per_s": 1 / seconds,
        "samples_per_s": size / seconds,
        "peak_gib": measure_peak() / 2**30,
    }


def _original(
    components: loading.Components,
    module: VisionLanguage,
    tower: VisionTower,
    examples: list[Example],
) -> Tensor:
    """Return the loss of one forward pass for each caption token, without a cache."""
    images = [decode_view(example.pictures[0]) for example in examples]
    with torch.autocast("cpu", torch.bfloat16):
        seen = module.projector(tower.encode(images))  # type: ignore[arg-type]
    captions = [_caption(components, example) for example in examples]
    length = max(map(len, captions))
    targets = torch.full((len(examples), length), IGNORE_INDEX)
    for row, caption in enumerate(captions):
        targets[row, : len(caption)] = torch.tensor(caption)
    table = components.language.embedding
    keys = [str(row) for row in range(len(examples))]
    prompts = [[(key, patch) for patch in range(seen.shape[1])] for key in keys]
    inputs, _ = embed(prompts, table, dict(zip(keys, seen, strict=True)))
    logits = []
    for _ in range(length):
        step = components.language.model(inputs_embeds=inputs, use_cache=False).logits[:, -1]
        logits.append(step)
        inputs = torch.cat([inputs, table(step.argmax(-1))[:, None]], dim=1)
    every = torch.stack(logits, dim=1).float()
    return nn.functional.cross_entropy(
        every.flatten(0, 1), targets.flatten(), ignore_index=IGNORE_INDEX
    )


class _WithLabels(nn.Module):
    """Computes the model's own loss over all positions, as Trainer expects it."""

    def __init__(self, module: VisionLanguage) -> None:
        super().__init__()
        self.inner = module

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        language, projector = self.inner.language, self.inner.projector
        pictures = dict(zip(batch.keys, projector(batch.features.float()), strict=True))
        inputs, mask = embed(batch.sequences, language.get_input_embeddings(), pictures)
        labels = nn.functional.pad(batch.labels[:, :-1], (1, 0), value=IGNORE_INDEX)
        loss = language(inputs_embeds=inputs, attention_mask=mask, labels=labels).loss
        return {"loss": loss}


def _trainer(
    module: VisionLanguage, dataset: DialogueDataset, batches: list[list[int]]
) -> list[float]:
    from transformers import Trainer, TrainerCallback, TrainingArguments

    stamps: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            stamps.append(time.perf_counter())

        def on_train_end(self, *_: Any, **__: Any) -> None:
            stamps.append(time.perf_counter())

    settings = TrainingArguments(
        output_dir="unused", per_device_train_batch_size=1, max_steps=len(batches), bf16=True,
        use_cpu=True, report_to=[], save_strategy="no", logging_strategy="no", learning_rate=1e-4,
        remove_unused_columns=False, disable_tqdm=True, optim="adamw_torch",
    )  # fmt: skip
    trainer = Trainer(
        _WithLabels(module),
        settings,
        train_dataset=batches,
        data_collator=lambda rows: {"batch": dataset.batch(rows[0])},
        callbacks=[Clock()],
    )
    trainer.train()
    return [b - a for a, b in pairwise(stamps)]


def _caption(components: loading.Components, example: Example) -> list[int]:
    text = str(example.turns[-1][1][0])
    ids: list[int] = components.language.tokenizer(text).input_ids
    return [*ids, components.language.tokenizer.eos_token_id]


def _tower(components: loading.Components) -> VisionTower:
    assert components.vision is not None
    return VisionTower(components.vision, fetch.fetch(components.vision.weights))


if __name__ == "__main__":
    main()
