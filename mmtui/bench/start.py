"""Benchmark of the start: imports, loading and time to first token.

It runs in a new process, because a process imports modules only once. `measure_start` starts
`python -m mmtui.bench.start`, and this module is also its program.
"""

import json
import subprocess
import sys
import time
from dataclasses import astuple, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.errors import MmtuiError
from mmtui.pipeline.assets import gguf_files
from mmtui.pipeline.assets.spec import EngineChoice

if TYPE_CHECKING:
    from mmtui.pipeline.assets.checkpoint import Checkpoint


@dataclass(frozen=True)
class StartTimes:
    """The durations of the successive parts of a start, in seconds.

    Attributes:
        imports: Starting Python and importing modules.
        language: Loading the engine and the language model.
        vision: Loading the vision tower; 0 for a model without vision.
        first_token: Generating the first token of an answer.
    """

    imports: float
    language: float
    vision: float
    first_token: float

    @property
    def total(self) -> float:
        """The sum of all parts."""
        return float(sum(astuple(self)))


def measure_start(checkpoint: "Checkpoint", engine: EngineChoice) -> StartTimes:
    """Measure a new process that loads a model and answers a question.

    Args:
        checkpoint: The model.
        engine: The engine to measure.

    Raises:
        MmtuiError: The process failed.
    """
    projector, adapter = checkpoint.projector, checkpoint.adapter
    arguments = {
        "start": time.monotonic(),  # the same clock for all processes of a machine
        "spec": json.dumps(checkpoint.spec.to_json()),
        "projector": str(projector) if projector else None,
        "adapter": str(adapter) if adapter else None,
        "gguf": gguf_files.get_model(checkpoint.gguf) if checkpoint.gguf else None,
        "engine": engine,
    }
    command = [sys.executable, "-m", __name__, json.dumps(arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise MmtuiError("a new process could not answer a question", "run `mmtui doctor`")
    return StartTimes(**json.loads(run.stdout))


def main(arguments: str) -> None:
    """Load a model, answer a question, and print the `StartTimes` as JSON.

    Args:
        arguments: The JSON object that `measure_start` passes.
    """
    options = json.loads(arguments)
    from mmtui.bench.measure import generate_answer
    from mmtui.pipeline.assets.checkpoint import Checkpoint
    from mmtui.pipeline.assets.spec import ModelSpec
    from mmtui.pipeline.assistant import Assistant
    from mmtui.pipeline.prompt import Turn

    spec = ModelSpec.from_json(options["spec"])
    projector, adapter = (
        Path(options[part]) if options[part] else None for part in ("projector", "adapter")
    )
    gguf = gguf_files.find(options["gguf"]) if options["gguf"] else None
    checkpoint = Checkpoint(spec, projector, adapter, gguf)
    times = [options["start"], time.monotonic()]
    assistant = Assistant(checkpoint, engine=options["engine"])
    assistant.load()
    times.append(time.monotonic())
    if checkpoint.can_see:
        assistant.load(pictures=True)
    times.append(time.monotonic())
    generate_answer(assistant, [Turn("user", ("What is the capital of France?",))], 1)
    times.append(time.monotonic())
    names = [field.name for field in fields(StartTimes)]
    spans = [end - start for start, end in pairwise(times)]
    print(json.dumps(dict(zip(names, spans, strict=True))))


if __name__ == "__main__":
    main(sys.argv[1])
