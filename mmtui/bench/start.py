"""The start of a command that answers a question, by parts.

They are measured in a new process, because imports take time only once. This module is its program:
`python -m mmtui.bench.start` with what `measure_start` passes on.
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
from mmtui.pipeline.assets.spec import EngineChoice

if TYPE_CHECKING:
    from mmtui.pipeline.assets.checkpoint import Checkpoint


@dataclass(frozen=True)
class StartTimes:
    """Seconds that each part of a start takes, one after the other.

    Attributes:
        imports: The interpreter and our modules.
        language: The engine and its language model.
        vision: The vision tower; 0 for a model without vision.
        first_token: The first token of the answer.
    """

    imports: float
    language: float
    vision: float
    first_token: float

    @property
    def total(self) -> float:
        """All parts together."""
        return float(sum(astuple(self)))


def measure_start(checkpoint: "Checkpoint", engine: EngineChoice) -> StartTimes:
    """Start a new process that loads a model and answers a question.

    Raises:
        MmtuiError: The process failed.
    """
    projector, adapter = checkpoint.projector, checkpoint.adapter
    arguments = {
        "start": time.monotonic(),  # the same clock for all processes of a machine
        "spec": json.dumps(checkpoint.spec.to_json()),
        "projector": str(projector) if projector else None,
        "adapter": str(adapter) if adapter else None,
        "engine": engine,
    }
    command = [sys.executable, "-m", __name__, json.dumps(arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise MmtuiError("the start of a new process could not be measured", "mmtui doctor")
    return StartTimes(**json.loads(run.stdout))


def main(arguments: str) -> None:
    """Print the `StartTimes` of this process as JSON."""
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
    found = Checkpoint(spec, projector, adapter)
    times = [options["start"], time.monotonic()]
    assistant = Assistant(found, engine=options["engine"])
    assistant.load()
    times.append(time.monotonic())
    if found.can_see:
        assistant.load(pictures=True)
    times.append(time.monotonic())
    generate_answer(assistant, [Turn("user", ("What is the capital of France?",))], 1)
    times.append(time.monotonic())
    names = [field.name for field in fields(StartTimes)]
    spans = [end - start for start, end in pairwise(times)]
    print(json.dumps(dict(zip(names, spans, strict=True))))


if __name__ == "__main__":
    main(sys.argv[1])
