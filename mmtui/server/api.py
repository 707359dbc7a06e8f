"""The API: https://platform.openai.com/docs/api-reference, for one model."""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.typedefs import Handler

from mmtui import logs
from mmtui.chat.config import Config
from mmtui.chat.protocol import Event
from mmtui.errors import explain
from mmtui.pipeline.speech.synthesis import Synthesizer, SynthesizerProcess
from mmtui.server import openapi, replies
from mmtui.server.errors import ApiError, from_http_error, make_server_error, shorten
from mmtui.server.messages import MessageReader
from mmtui.server.requests import (
    CompletionRequest,
    SpeechRequest,
    TranscriptionRequest,
    parse,
    parse_form,
)
from mmtui.server.responses import (
    Architecture,
    Capabilities,
    Document,
    Health,
    Identity,
    ModelEntry,
    ModelList,
    Transcription,
)
from mmtui.server.shared_model import Sampling, ServedModel, SharedModel
from mmtui.server.speech import MEDIA_TYPES, SpeechQueue
from mmtui.server.uploads import read_body, read_form

if TYPE_CHECKING:
    from mmtui.pipeline.assets.checkpoint import Checkpoint

CLIENT = "client"  # key of a request: whose it is


class Api:
    """Answers the requests under /v1 with a model that is loaded when it is first needed."""

    def __init__(
        self,
        checkpoint: "Checkpoint",
        config: Config,
        open_port: Callable[[Callable[[Event], None]], ServedModel],
        synthesizer: Synthesizer | None = None,
    ) -> None:
        """Prepare the API.

        Args:
            checkpoint: The model.
            config: The defaults of requests.
            open_port: Returns the process of the model, as for `SharedModel`.
            synthesizer: The voice; the default is a process that the first request starts.
        """
        self._checkpoint, self._config, self._open_port = checkpoint, config, open_port
        self._speech = SpeechQueue(
            synthesizer or SynthesizerProcess(), config.voice, config.speaking_rate
        )
        self._name = checkpoint.spec.name
        self._accepts_pictures = checkpoint.can_see or config.reads is True
        self._created = int(time.time())
        self._folder = TemporaryDirectory(prefix="mmtui-serve-")
        self._model: SharedModel | None = None

    @property
    def model(self) -> SharedModel:
        """The queue of the model, while the application runs."""
        assert self._model is not None
        return self._model

    def make_app(self) -> web.Application:
        """Return the application, for the path /v1 of a server."""
        app = web.Application(middlewares=[respond_with_errors])
        app.add_routes(
            [
                web.get("/openapi.json", _get_openapi),
                web.get("/models", self._list_models),
                web.get("/models/{id:.+}", self._get_model),
                web.post("/chat/completions", self._complete),
                web.post("/audio/transcriptions", self._transcribe),
                web.post("/audio/speech", self._speak),
            ]
        )
        app.on_startup.append(self._start)
        app.on_cleanup.append(self._stop)
        return app

    async def get_health(self, _: web.Request) -> web.Response:
        """Return the state of the model."""
        model = self.model
        health = Health(status="idle", waiting=model.waiting)
        if model.ready is not None:
            health.status = "ok"
        elif model.is_loading:
            health.status = "loading"
        if (progress := model.progress) is not None:
            health.step, health.done, health.total = progress.step, progress.done, progress.total
        if model.parallel > 1:
            health.parallel, health.running = model.parallel, model.running
        return _respond(health)

    async def _start(self, _: web.Application) -> None:
        self._model = SharedModel(self._open_port)
        self._reader = MessageReader(
            self._checkpoint,
            self._model,
            Path(self._folder.name),
            self._config.spoken_language,
            accepts_pictures=self._accepts_pictures,
        )

    async def _stop(self, _: web.Application) -> None:
        self._speech.close()
        self.model.close()
        self._reader.close()
        self._folder.cleanup()

    async def _list_models(self, _: web.Request) -> web.Response:
        return _respond(ModelList(data=[self._describe_model()]))

    async def _get_model(self, request: web.Request) -> web.Response:
        self._check_model(request.match_info["id"])
        return _respond(self._describe_model())

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = parse(CompletionRequest, await read_body(request))
        self._check_model(body.model)
        paths: list[str] = []
        try:
            turns = await self._reader.read(body.messages, request[CLIENT], paths)
            client = request[CLIENT]
            if body.length_limit == 0:
                job = self.model.prepare(client, turns, self._config.max_tokens)
            else:
                job = self.model.generate(client, turns, self._get_sampling(body))
            identity = Identity(model=self._name)
            if body.stream:
                return await replies.stream(request, self.model, job, body, identity)
            return await replies.respond(self.model, job, body, identity)
        finally:
            self._reader.release(paths)

    async def _transcribe(self, request: web.Request) -> web.Response:
        form = await read_form(request)
        body = parse_form(TranscriptionRequest, form)
        self._check_model(body.model)
        if "file" not in form:
            raise ApiError("file: the recording is missing", param="file")
        transcript = await self._reader.transcribe(
            form["file"], request[CLIENT], "file", body.language
        )
        if body.response_format == "text":
            return web.Response(text=f"{transcript.text}\n")
        document = Transcription(
            text=transcript.text,
            language=transcript.language,
            notes=list(transcript.notes) or None,
        )
        return _respond(document)

    async def _speak(self, request: web.Request) -> web.Response:
        body = parse(SpeechRequest, await read_body(request))
        self._check_model(body.model)
        sound = await self._speech.synthesize(body)
        return web.Response(body=sound, content_type=MEDIA_TYPES[body.response_format])

    def _check_model(self, name: str | None) -> None:
        if name is not None and name not in ("auto", self._name):
            raise ApiError(
                f"there is no model {shorten(name)!r}; this server has {self._name}",
                status=404,
                param="model",
                code="model_not_found",
            )

    def _get_sampling(self, body: CompletionRequest) -> Sampling:
        """Return the sampling of a request; what it leaves out is as in the settings."""
        config = self._config
        temperature = config.temperature if body.temperature is None else body.temperature
        if body.top_p == 0:  # the most probable token
            temperature = 0.0
        return Sampling(
            max_tokens=body.length_limit or config.max_tokens,
            temperature=temperature,
            top_p=body.top_p or config.top_p,
            seed=None if body.seed is None else body.seed % 2**64,  # it may be negative
            schema=body.schema_text,
        )

    def _describe_model(self) -> ModelEntry:
        ready = self.model.ready
        capabilities = Capabilities(
            vision=self._accepts_pictures,
            transcription=self._checkpoint.spec.speech is not None,
        )
        architecture = Architecture(input_modalities=["text"])
        if capabilities.vision:
            architecture.input_modalities.append("image")
        if capabilities.transcription:
            architecture.input_modalities.append("audio")
        return ModelEntry(
            id=self._name,
            created=self._created,
            architecture=architecture,
            capabilities=capabilities,
            context_length=ready.context if ready else None,
            languages=list(self._checkpoint.spec.language.languages) or None,
        )


async def _get_openapi(_: web.Request) -> web.Response:
    return web.json_response(openapi.make_document())


@web.middleware
async def respond_with_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Respond with an error of OpenAI's form where a request fails."""
    try:
        return await handler(request)
    except ApiError as error:
        return error.to_response()
    except web.HTTPException as error:
        return from_http_error(error).to_response()
    except ConnectionError:  # the client has hung up while it sent its request
        raise
    except Exception as error:
        failure = explain(error, logs.record_error(error))
        return make_server_error(str(failure)).to_response()


def _respond(document: Document) -> web.Response:
    return web.json_response(text=document.encode())
