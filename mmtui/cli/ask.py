"""`mmtui ask` and `mmtui transcribe`."""

from pathlib import Path
from typing import Annotated

import typer

import mmtui
from mmtui.chat.backend import find_endpoint
from mmtui.chat.config import Config
from mmtui.cli.answer_files import SaveMediaOption, check_save_media
from mmtui.cli.answers import print_answer, print_transcript
from mmtui.cli.chat import refuse_local_options
from mmtui.cli.files import check_stdin, open_documents, open_pictures
from mmtui.cli.options import (
    EndpointOption,
    EngineOption,
    JsonOption,
    LanguageOption,
    ListenOption,
    MmprojOption,
    ModelOption,
    ReadOption,
    choose_listener,
    load_model,
    print_note,
)
from mmtui.cli.question import read_question
from mmtui.cli.speech import SpeakOption, SpeakToOption, check_speech, read_aloud
from mmtui.errors import NoSpeechError
from mmtui.media import Document, Image, Sound
from mmtui.paths import resolve
from mmtui.pipeline.documents.fitting import Fit
from mmtui.pipeline.limits import MAX_TEMPERATURE
from mmtui.pipeline.speech.languages import get_name
from mmtui.progress import print_json, print_notes, reporting
from mmtui.text import printable


def ask(
    question: Annotated[
        str | None,
        typer.Argument(
            metavar="QUESTION",
            help="What to ask. If it is - or left out, it is read from stdin, unless --audio or"
            " --image - is given.",
        ),
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            "--image",
            metavar="FILE",
            help="Picture to ask about; - reads it from stdin. Of a PDF, pages are attached as"
            " pictures: scan.pdf#2 is the second. Can be repeated.",
        ),
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="Document whose text comes before the question: text, source code, CSV, JSON,"
            " Markdown, PDF, DOCX or HTML; - reads it from stdin. report.pdf#3-7 chooses pages."
            " Can be repeated.",
        ),
    ] = None,
    pages: Annotated[
        str | None,
        typer.Option(
            "--pages",
            metavar="PAGES",
            help="Pages of the --file, if it is a PDF: 3-7 or 1,4-6. All by default.",
        ),
    ] = None,
    fit: Annotated[
        Fit,
        typer.Option(
            "--fit",
            help="What to use of documents that are too long for the model's context: match, the"
            " default, uses the parts with the words of the question; beginning uses the start of"
            " each; error stops.",
        ),
    ] = "match",
    audio: Annotated[
        Path | None,
        typer.Option(
            "--audio",
            parser=resolve,
            metavar="FILE",
            help="Recording to transcribe; its words come before the question. At most 15 s are"
            " used.",
        ),
    ] = None,
    model: ModelOption = "auto",
    mmproj: MmprojOption = None,
    endpoint: EndpointOption = None,
    listen: ListenOption = None,
    language: LanguageOption = None,
    engine: EngineOption = None,
    read: ReadOption = None,
    system: Annotated[
        str | None,
        typer.Option(
            "--system",
            metavar="TEXT",
            help="System prompt: instructions that come before the question.",
        ),
    ] = None,
    max_tokens: Annotated[
        int,
        typer.Option(
            "--max-tokens", metavar="N", min=1, help="Maximum length of the answer, in tokens."
        ),
    ] = 512,
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            metavar="X",
            min=0,
            max=MAX_TEMPERATURE,
            help="Randomness of the answer: 0 always chooses the most probable token, 1 samples"
            " from the model's probabilities.",
        ),
    ] = 0.0,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="N",
            min=0,
            max=2**63 - 1,
            help="Seed of the random choices: the same seed gives the same answer. Random by"
            " default.",
        ),
    ] = None,
    speak: SpeakOption = False,
    speak_to: SpeakToOption = None,
    save_media: SaveMediaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask one question and stream the answer to standard output.

    The question can come with pictures, documents and a recording. Notes go to standard error.
    """
    names, document_names = image or [], file or []
    check_stdin(names, document_names)
    request = read_question(question, names, audio, document_names)
    for mentioned in request.mentioned:
        print_note(f"attached: {mentioned}")
    audio = request.recording
    config = Config.load().with_endpoint(endpoint).with_language(language)
    config = config.with_reading(read)
    refuse_local_options(config, {"--mmproj": mmproj, "--engine": engine})
    check_speech(config, speak_to)
    check_save_media(save_media, find_endpoint(config))
    with reporting() as report:
        pictures = list(open_pictures(request.pictures, report))
        documents = open_documents(request.documents, pages, report)
    recordings = [Sound(audio)] if audio else []
    files: list[Image | Sound | Document] = [*documents, *pictures, *recordings]
    shown = [note for attached in files for note in attached.notes]
    print_notes(shown)
    if (server := find_endpoint(config)) is not None:
        from mmtui.cli.ask_server import ServerQuestion, ask_server

        server_question = ServerQuestion(
            request.text,
            pictures,
            recordings,
            documents,
            fit=fit,
            sends_recordings=config.with_listener(listen).sends_recordings,
            language=config.spoken_language,
            can_read=config.reads is True,
            system=system,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            save_media=save_media,
        )
        name = config.model if model == "auto" else model
        with read_aloud(config, speak=speak, speak_to=speak_to) as speech:
            ask_server(server, name, server_question, speech, as_json=as_json)
        return
    listener = choose_listener(config, listen, model, mmproj)
    with read_aloud(config, speak=speak, speak_to=speak_to) as speech:
        with reporting() as report:
            loaded = load_model(model, engine, report, mmproj, language, read)
            message = [*files, request.text] if request.text else files
            turns = [mmtui.Turn("system", system)] if system else []
            stream = loaded.reply(
                [*turns, mmtui.Turn("user", message)],
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
                fit=fit,
                listen=listener,
            )
            for heard in stream.recordings:
                print_transcript(heard.text, heard.language)
            print_notes(note for note in stream.notes if note not in shown)
            loaded.load(pictures=bool(pictures))
            if loaded.note:
                print_note(loaded.note)
            print_answer(speech.follow(stream), silent=as_json)
        reply = stream.result.reply
        if as_json:
            print_json(stream.result.to_dict())
        elif reply.repeats:
            print_note("stopped: the answer was repeating itself")
        elif reply.full:
            print_note(f"stopped at the end of {loaded.name}'s context")
        elif reply.stop_reason == "length":
            print_note(f"stopped after {reply.completion_tokens} tokens; --max-tokens allows more")
        if reply.stop_reason == "cancelled":
            raise KeyboardInterrupt
        speech.wait()


def transcribe(
    audio: Annotated[
        Path,
        typer.Argument(
            metavar="AUDIO",
            parser=resolve,
            help="Recording; at most 15 s are transcribed.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Model whose speech recognition is used; see `mmtui ask --help`. It runs on this"
            " machine: auto is smol if the settings name an endpoint.",
        ),
    ] = "auto",
    language: LanguageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the transcript of a recording.

    A note names the language if it is not English.
    """
    sound = Sound(audio)
    print_notes(sound.notes)
    with reporting() as report:
        transcript = load_model(model, None, report, language=language).transcribe(sound)
    print_notes(transcript.notes)
    if not transcript.text:
        raise NoSpeechError(str(audio))
    if as_json:
        keys = ("text", "language", "seconds")
        print_json({key: getattr(transcript, key) for key in keys})
    else:
        if transcript.language not in (None, "en"):
            print_note(f"language: {get_name(transcript.language)}")
        print(printable(transcript.text))
