"""Options that several commands share, and functions to load a model and print notes."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import mmtui
from mmtui.chat.config import Config, Listener, resolve_model
from mmtui.paths import resolve
from mmtui.pipeline.assets.spec import EngineChoice
from mmtui.text import one_line

if TYPE_CHECKING:
    from mmtui.pipeline.assets.fetch import Report

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="Model to use: a preset (smol, phi2), a checkpoint folder, a GGUF file, ollama:NAME or"
        " hf:OWNER/NAME. auto: the one that $MMTUI_MODEL or the settings name, else phi2 if it and"
        " a projector for it are on this machine, else smol. With an endpoint it is the name of one"
        " of its models.",
    ),
]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="Server with an OpenAI-compatible API that runs the model instead of this machine,"
        " such as http://127.0.0.1:11434/v1. The default is $MMTUI_ENDPOINT or that of the"
        " settings; '' ignores it and runs --model, or else smol, on this machine.",
    ),
]
ListenOption = Annotated[
    Listener | None,
    typer.Option(
        "--listen",
        help="What reads recordings: whisper, the default, transcribes them on this machine; model"
        " gives them to the model itself: that of the endpoint, which has to accept them, or a GGUF"
        " whose mmproj has an audio tower.",
    ),
]
LanguageOption = Annotated[
    str | None,
    typer.Option(
        "--language",
        metavar="LANGUAGE",
        help="Language of recordings: a code or a name, such as de or german; auto detects it. The"
        " default is $MMTUI_LANGUAGE or that of the settings, else auto.",
    ),
]
EngineOption = Annotated[
    EngineChoice | None,
    typer.Option(
        "--engine",
        help="Library that runs the language model. auto, the default, is llama.cpp on a CPU and"
        " torch on a GPU.",
    ),
]
ReadOption = Annotated[
    bool | None,
    typer.Option(
        "--read/--no-read",
        help="Whether the text in pictures is recognized on this machine and given to the model"
        " beside them. By default, it is for models that were trained with it, or as the settings"
        " say. A model without vision gets nothing but the text.",
    ),
]
MmprojOption = Annotated[
    Path | None,
    typer.Option(
        "--mmproj",
        parser=resolve,
        metavar="FILE",
        help="GGUF with the vision tower of a --model that is a GGUF file. By default, the mmproj"
        " beside the model is used.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]


def load_model(
    model: str,
    engine: EngineChoice | None,
    report: "Report",
    mmproj: Path | None = None,
    language: str | None = None,
    read: bool | None = None,
) -> "mmtui.Model":
    """Return a model whose parts are loaded when they are needed."""
    loaded = mmtui.load(
        model,
        mmproj=mmproj,
        engine=engine,
        language=language,
        read=read,
        preload=False,
        report=report,
    )
    if model == "auto":
        is_default = loaded.name == "smol" and resolve_model(model)[0] == "auto"
        reason = "; phi2 and a projector for it are not here" if is_default else ""
        print_note(f"model: {loaded.name}{reason}")
    return loaded


def choose_listener(
    config: Config, listen: Listener | None, model: str, mmproj: Path | None
) -> Listener:
    """Return what hears recordings that come with a question to a model on this machine.

    Args:
        config: The settings.
        listen: What `--listen` chooses.
        model: The model.
        mmproj: The mmproj of `--mmproj`.

    Raises:
        UsageError: `--listen` chooses the model, which can't hear.
    """
    if (listen or config.listen) == "whisper":
        return "whisper"
    model, _ = resolve_model(model)
    if mmproj is not None:
        from mmtui.pipeline.assets.gguf_files import add_mmproj

        model = add_mmproj(model, mmproj)
    config = config.replace(model=model).with_listener(listen)
    return "model" if config.sends_recordings else "whisper"


def print_note(text: str) -> None:
    """Print a line to standard error."""
    print(one_line(text), file=sys.stderr, flush=True)
