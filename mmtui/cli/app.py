"""The `mmtui` program: its commands, and the chat without one.

Each command imports what is slow to import when it needs it.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

import mmtui
from mmtui.cli.arguments import TextCommand
from mmtui.cli.ask import ask, transcribe
from mmtui.cli.bench import bench
from mmtui.cli.config import config
from mmtui.cli.history import history
from mmtui.cli.models import models, pull
from mmtui.cli.options import (
    EndpointOption,
    JsonOption,
    LanguageOption,
    ListenOption,
    MmprojOption,
    ReadOption,
)
from mmtui.cli.read import read as read_command
from mmtui.entry import silence_libraries
from mmtui.errors import UsageError
from mmtui.paths import resolve
from mmtui.pipeline.assets.spec import EngineChoice
from mmtui.pipeline.limits import MAX_PARALLEL
from mmtui.progress import print_json
from mmtui.text import one_line

app = typer.Typer(
    name="mmtui",
    help="A terminal chat that sees, hears and answers, on your own machine.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(history, name="history")
app.add_typer(config, name="config")
app.command(cls=TextCommand)(ask)
app.command()(transcribe)
app.command("read")(read_command)
app.command()(pull)
app.command()(models)
app.command()(bench)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        print(f"mmtui {mmtui.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Show the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and the warnings of libraries.")
    ] = False,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain",
            help="Chat line by line, for screen readers and pipes. Ctrl-C stops an answer; Ctrl-C"
            " or Enter stops what is read aloud.",
        ),
    ] = False,
    talk: Annotated[
        bool,
        typer.Option(
            "--talk",
            help="Talk hands free: mmtui listens, answers aloud, and listens again.",
        ),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="Model of the chat; see `mmtui ask --help`."),
    ] = None,
    endpoint: EndpointOption = None,
    listen: ListenOption = None,
    language: LanguageOption = None,
    read: ReadOption = None,
    mmproj: MmprojOption = None,
    engine: Annotated[
        EngineChoice | None,
        typer.Option("--engine", help="Engine of the chat; see `mmtui ask --help`."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="[ID]",
            help="Continue a conversation, the latest by default. A beginning of its id is enough.",
        ),
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            "--image",
            parser=resolve,
            metavar="FILE",
            help="Picture to attach to the first message. Can be repeated.",
        ),
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(
            "--file",
            parser=resolve,
            metavar="FILE",
            help="Document, picture or recording to attach to the first message, as /file does;"
            " report.pdf#3-7 chooses pages. Can be repeated.",
        ),
    ] = None,
) -> None:
    if debug:
        os.environ["MMTUI_DEBUG"] = "1"
    else:
        silence_libraries()
    if (command := context.invoked_subcommand) is not None:
        chat_options = {
            "--plain": plain,
            "--talk": talk,
            "--model": model,
            "--endpoint": endpoint,
            "--listen": listen,
            "--language": language,
            "--read" if read else "--no-read": read is not None,
            "--mmproj": mmproj,
            "--engine": engine,
            "--resume": resume,
            "--image": image,
            "--file": file,
        }
        if misplaced := [name for name, value in chat_options.items() if value]:
            raise UsageError(
                f"{misplaced[0]} before {command} is an option of the chat",
                f"mmtui {command} --help lists the options of {command}",
            )
        return
    from mmtui.cli.chat import chat

    chat(
        model,
        endpoint,
        engine,
        resume,
        tuple(image or []),
        tuple(file or []),
        plain=plain,
        talk=talk,
        mmproj=mmproj,
        listen=listen,
        language=language,
        read=read,
    )


@app.command("serve")
def serve_(
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="HOST",
            help="Address to listen on; 0.0.0.0 accepts connections from other machines.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port", metavar="N", min=0, max=65535, help="Port to listen on; 0 chooses a free one."
        ),
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="TOKEN",
            help="Secret that the address must contain, random by default; '' lets everybody in."
            " Other users of this machine can see a token given here in the process list.",
        ),
    ] = None,
    max_chats: Annotated[
        int,
        typer.Option(
            "--max-chats",
            metavar="N",
            min=1,
            help="Number of chats that can be open in browsers at once.",
        ),
    ] = 20,
    parallel: Annotated[
        int | None,
        typer.Option(
            "--parallel",
            metavar="N",
            min=1,
            max=MAX_PARALLEL,
            help="Number of requests that llama.cpp answers at the same time, each of them more"
            " slowly, instead of one after the other. Each needs memory for a conversation. The"
            " default is that of the settings, else 1.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="Model to serve; see `mmtui ask --help`."),
    ] = None,
    endpoint: EndpointOption = None,
    listen: ListenOption = None,
    language: LanguageOption = None,
    read: ReadOption = None,
    mmproj: MmprojOption = None,
    engine: Annotated[
        EngineChoice | None,
        typer.Option("--engine", help="Engine of the chats; see `mmtui ask --help`."),
    ] = None,
) -> None:
    """Serve the chat to browsers, and an OpenAI-compatible API to programs, until Ctrl-C.

    Prints the address to open, which contains a token. Whoever has it can use the chat as you can:
    it reads and writes files, records sound and pastes pictures on the machine that serves it.

    The API is under /v1, with the token as its key. One model process answers all chats and
    programs, one after the other unless --parallel lets it answer several together.
    """
    from mmtui.cli.chat import configure, refuse_local_options
    from mmtui.cli.pages import make_starter
    from mmtui.frontends.page_process import ChatOptions
    from mmtui.frontends.serve import serve

    config = configure(model, endpoint, engine, mmproj, listen, language, read)
    refuse_local_options(config, {"--parallel": parallel})
    if parallel is not None:
        config = config.replace(parallel=parallel)
    if parallel and parallel > 1 and config.engine == "torch":
        raise UsageError("torch answers one request at a time", "--engine llamacpp")
    options = ChatOptions(model, endpoint, listen, language, mmproj, engine, read)
    serve(host, port, token, max_chats, config, options, make_starter)


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Check this machine and suggest how to fix what is wrong."""
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
