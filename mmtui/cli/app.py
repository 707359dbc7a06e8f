"""Every `mmtui` command. What is heavy is imported by the command that needs it."""

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import mmtui
from mmtui.cli.arguments import TextCommand
from mmtui.cli.bench import bench
from mmtui.cli.history import config, history
from mmtui.cli.question import piped, read_question
from mmtui.entry import silence_libraries
from mmtui.errors import NoSpeechError, UsageError
from mmtui.paths import resolve
from mmtui.pipeline.assets.spec import EngineChoice
from mmtui.progress import print_json, reporting
from mmtui.text import one_line, printable

if TYPE_CHECKING:
    from mmtui.pipeline.assets.fetch import Report

app = typer.Typer(
    name="mmtui",
    help="A terminal chat that sees, hears and answers, on your own machine.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(history, name="history")
app.add_typer(config, name="config")
app.command()(bench)

ModelOption = Annotated[
    str,
    typer.Option("--model", metavar="M", help="A preset, a checkpoint folder or hf:OWNER/NAME."),
]
EngineOption = Annotated[
    EngineChoice | None,
    typer.Option("--engine", help="auto: llamacpp on a CPU, where it is installed, else torch."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"mmtui {mmtui.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and warnings.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Chat line by line.")] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="M", help="As in `ask`; default: what the settings say."),
    ] = None,
    engine: Annotated[
        EngineChoice | None,
        typer.Option("--engine", help="As in `ask`; default: what the settings say."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="[ID]",
            help="Go on with a conversation of the chat, the latest by default.",
        ),
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            "--image",
            parser=resolve,
            metavar="P",
            help="Picture to attach in the chat; may be repeated.",
        ),
    ] = None,
) -> None:
    if debug:
        os.environ["MMTUI_DEBUG"] = "1"
    else:
        silence_libraries()
    if (command := context.invoked_subcommand) is not None:
        of_chat = {"--plain": plain, "--model": model, "--engine": engine, "--resume": resume}
        if given := [name for name, value in (of_chat | {"--image": image}).items() if value]:
            raise UsageError(
                f"{given[0]} before {command} is of the chat",
                f"mmtui {command} --help tells what comes after it",
            )
        return
    from mmtui.cli.chat import chat

    chat(model, engine, resume, tuple(image or []), plain=plain)


@app.command(cls=TextCommand)
def ask(
    question: Annotated[
        str | None, typer.Argument(metavar="[QUESTION]", help="Left out, or -: read from stdin.")
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option("--image", metavar="P", help="A picture; may be repeated. - reads stdin."),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(
            "--audio", parser=resolve, metavar="P", help="Speech; its first 15 s are heard."
        ),
    ] = None,
    model: ModelOption = "auto",
    engine: EngineOption = None,
    system: Annotated[
        str | None,
        typer.Option(
            "--system", metavar="S", help="System prompt: what the model is told about its task."
        ),
    ] = None,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", metavar="N", min=1, help="Length limit of the answer.")
    ] = 512,
    temperature: Annotated[
        float, typer.Option("--temperature", metavar="T", min=0, help="0 takes the likeliest word.")
    ] = 0.0,
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", min=0, max=2**63 - 1, help="Makes chance repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask one question; the answer streams out.

    Pictures and a spoken question may come with it. --model auto, the default, is what $MMTUI_MODEL
    or the settings name; else phi2 if it and a projector for it are here; else smol.
    """
    names = image or []
    if names.count("-") > 1:
        raise UsageError("--image - may be given once: there is one stdin")
    asked = read_question(question, names, audio)
    for file in asked.mentioned:
        _note(f"attached: {file}")
    names, audio = list(asked.pictures), asked.recording
    files: list[mmtui.Image | mmtui.Sound] = [*map(_image, names)]
    files += [mmtui.Sound(audio)] if audio else []
    for attached in files:
        _print_notes(attached.notes)
    with reporting() as report:
        loaded = _load(model, engine, report)
        message = [*files, asked.text] if asked.text else files
        turns = [mmtui.Turn("system", system)] if system else []
        stream = loaded.reply(
            [*turns, mmtui.Turn("user", message)],
            max_tokens=max_tokens, temperature=temperature, seed=seed,
        )  # fmt: skip
        for heard in stream.transcripts:
            _note(f"heard: {heard}")
        loaded.load(pictures=bool(names))
        if loaded.note:
            _note(loaded.note)
        _print_stream(stream, silent=as_json)
    reply = stream.result.reply
    if as_json:
        print_json(stream.result.to_dict())
    elif reply.repeats:
        _note("stopped: the answer was repeating itself")
    elif reply.full:
        _note(f"stopped at the end of {loaded.name}'s context")
    elif reply.stop_reason == "length":
        _note(f"stopped after {reply.completion_tokens} tokens; --max-tokens allows more")
    if reply.stop_reason == "cancelled":
        raise KeyboardInterrupt


@app.command()
def transcribe(
    audio: Annotated[
        Path,
        typer.Argument(
            metavar="AUDIO", parser=resolve, help="Recording; its first 15 s are transcribed."
        ),
    ],
    model: ModelOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Speech to text."""
    sound = mmtui.Sound(audio)
    _print_notes(sound.notes)
    with reporting() as report:
        transcript = _load(model, None, report).transcribe(sound)
    if not transcript.text:
        raise NoSpeechError(str(audio))
    if as_json:
        print_json(vars(transcript))
    else:
        print(printable(transcript.text))


@app.command("serve")
def serve_(
    host: Annotated[
        str,
        typer.Option(
            "--host", metavar="H", help="Address to listen at; 0.0.0.0 lets other machines in."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="T",
            help="Secret that lets a browser in, made up by default; '' lets everybody in. Other"
            " users of this machine can see one that is given here in the list of processes.",
        ),
    ] = None,
    max_chats: Annotated[
        int,
        typer.Option(
            "--max-chats", metavar="N", min=1, help="Chats open at once; each loads a model."
        ),
    ] = 4,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="M", help="As in `ask`; default: what the settings say."),
    ] = None,
    engine: Annotated[
        EngineChoice | None,
        typer.Option("--engine", help="As in `ask`; default: what the settings say."),
    ] = None,
) -> None:
    """Serve the chat to a browser, until Ctrl-C.

    Prints the address to open, with a token in it. Whoever has it can do in the chat what you can:
    files are read and written, sounds recorded and pictures pasted on the machine that serves.
    """
    from mmtui.chat.config import Config
    from mmtui.frontends.serve import serve

    Config.load()  # what is wrong with it is told here, not in the browser
    given = {"--model": model, "--engine": engine}
    options = [f"{name}={value}" for name, value in given.items() if value]
    serve(host, port, token, max_chats, options)


@app.command()
def pull(
    model: Annotated[str, typer.Argument(metavar="[MODEL]")] = "auto",
) -> None:
    """Fetch all that a model needs.

    It works without a network afterwards.
    """
    with reporting() as report:
        from mmtui.pipeline.assets import fetch

        assistant = _load(model, None, report).assistant
        parts = assistant.spec.assets
        paths = {role: fetch.fetch(asset, report) for role, asset in parts.items()}
        paths["language"] = assistant.prepare_language()
    for role, path in paths.items():
        print(one_line(f"{role:9} {parts[role].uri}"))
        print(one_line(f"{'':9} {path}"))
    print(one_line(f"{assistant.name} is ready; the cache is {fetch.cache_dir()}"))


@app.command()
def models(as_json: JsonOption = False) -> None:
    """Tell what is here and what to fetch."""
    from mmtui.pipeline.assets.inventory import inventory

    known = inventory()
    if as_json:
        print_json(known)
        return
    for model in known:
        sight = "sees" if model["sees"] else "no trained projector: reads and hears"
        print(one_line(f"{model['name']} ({model.get('error', sight)})"))
        for part in model["parts"]:
            state = "here" if part["path"] else f"{part['download'] / 1e6:,.0f} MB to fetch"
            print(one_line(f"  {part['role']:9} {state:18} {part['uri']}"))


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Check this machine, and tell cures."""
    from mmtui.cli.doctor import examine

    findings = list(examine())
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            mark = {"ok": "ok  ", "note": "note", "bad": "BAD "}[finding.state]
            print(one_line(f"{mark}  {finding.name:13} {finding.detail}"))
            if finding.cure:
                print(one_line(f"      {'':13} cure: {finding.cure}"))
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(1)


def _image(name: str) -> "mmtui.Image":
    if name != "-":
        return mmtui.Image(resolve(name), name)
    if (pipe := piped()) is None:
        raise UsageError("--image - reads a picture from stdin", "mmtui ask --image - < photo.jpg")
    return mmtui.Image(pipe, name)


def _load(model: str, engine: EngineChoice | None, report: "Report") -> "mmtui.Model":
    """A model whose parts are loaded when they are needed."""
    loaded = mmtui.load(model, engine=engine, preload=False, report=report)
    if model == "auto":
        other = "" if loaded.name == "phi2" else "; phi2 and a projector for it are not here"
        _note(f"model: {loaded.name}{other}")
    return loaded


def _print_stream(stream: "mmtui.ReplyStream", silent: bool) -> None:
    """Print the answer as it comes. Ctrl-C ends it between two tokens, and keeps it."""

    def stop(*_: object) -> None:
        stream.cancel()
        signal.signal(signal.SIGINT, previous)  # a second one does not wait

    previous = signal.signal(signal.SIGINT, stop)
    try:
        for piece in stream:
            if not silent:
                print(printable(piece), end="", flush=True)
    finally:
        signal.signal(signal.SIGINT, previous)
    if not silent:
        print(flush=True)


def _print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        _note(f"note: {note}")


def _note(text: str) -> None:
    print(one_line(text), file=sys.stderr, flush=True)
