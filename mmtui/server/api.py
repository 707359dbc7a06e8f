"""The API: https://platform.openai.com/docs/api-reference, for one model."""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.typedefs import Handler

from mmtui.chat.config import Config
from mmtui.chat.model_process import ModelPort
from mmtui.chat.protocol import ChatTurn, Event
from mmtui.server import replies
from mmtui.server.attachments import (
    MAX_PICTURES,
    PictureFolder,
    decode_base64,
    decode_data_uri,
    decode_recording,
)
from mmtui.server.errors import ApiError, from_http_error
from mmtui.server.requests import (
    CompletionRequest,
    Message,
    PicturePart,
    RecordingPart,
    parse,
)
from mmtui.server.responses import (
    Architecture,
    Capabilities,
    Document,
    Health,
    Identity,
    ModelEntry,
    ModelList,
)
from mmtui.server.shared_model import Sampling, SharedModel

if TYPE_CHECKING:
    from mmtui.pipeline.assets.checkpoint import Checkpoint

MAX_BODY_BYTES = 64_000_000
CLIENT = "client"  # key of a request: whose it is


class Api:
    """Answers the requests under /v1 with a model that is loaded when it is first needed."""

    def __init__(
        self,
        checkpoint: "Checkpoint",
        config: Config,
        open_port: Callable[[Callable[[Event], None]], ModelPort],
    ) -> None:
        """Prepare the API.

        Args:
            checkpoint: The model.
            config: The defaults of requests.
            open_port: Returns the process of the model, as for `SharedModel`.
        """
        self._name, self._config, self._open_port = checkpoint.spec.name, config, open_port
        self._can_see = checkpoint.can_see
        self._can_transcribe = checkpoint.spec.speech is not None
        self._created = int(time.time())
        self._folder = TemporaryDirectory(prefix="mmtui-serve-")
        self._pictures = PictureFolder(Path(self._folder.name))
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
                web.get("/models", self._list_models),
                web.get("/models/{id:.+}", self._get_model),
                web.post("/chat/completions", self._complete),
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
        return _respond(health)

    async def _start(self, _: web.Application) -> None:
        self._model = SharedModel(self._open_port)

    async def _stop(self, _: web.Application) -> None:
        self.model.close()
        self._folder.cleanup()

    async def _list_models(self, _: web.Request) -> web.Response:
        return _respond(ModelList(data=[self._describe_model()]))

    async def _get_model(self, request: web.Request) -> web.Response:
        self._check_model(request.match_info["id"])
        return _respond(self._describe_model())

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = parse(CompletionRequest, await read_body(request))
        self._check_model(body.model)
        if body.response_format and body.response_format.type != "text":
            message = f"{self._name} can't be restricted to JSON: its engine has no grammars"
            raise ApiError(message, param="response_format")
        paths: list[str] = []
        try:
            turns = await self._read_turns(body.messages, request[CLIENT], paths)
            job = self.model.generate(request[CLIENT], turns, self._get_sampling(body))
            identity = Identity(model=self._name)
            if body.stream:
                return await replies.stream(request, self.model, job, body, identity)
            return await replies.respond(self.model, job, body, identity)
        finally:
            self._pictures.release(paths)

    async def _read_turns(
        self, messages: list[Message], client: str, paths: list[str]
    ) -> list[ChatTurn]:
        """Return the turns of a conversation; add the paths of its pictures to `paths`.

        Adjacent messages of the same role are merged: some chat templates require that roles
        alternate.
        """
        turns: list[ChatTurn] = []
        for number, message in enumerate(messages):
            role = "system" if message.role == "developer" else message.role
            text, pictures = await self._read_content(message, f"messages.{number}", client, paths)
            if turns and turns[-1].role == role:
                previous = turns.pop()
                text = "\n\n".join(filter(None, (previous.text, text)))
                pictures = (*previous.pictures, *pictures)
            turns.append(ChatTurn(role, text, pictures))
        return turns

    async def _read_content(
        self, message: Message, param: str, client: str, paths: list[str]
    ) -> tuple[str, tuple[str, ...]]:
        """Return the text of a message, transcripts included, and the paths of its pictures."""
        if not isinstance(message.content, list):
            return message.content or "", ()
        texts: list[str] = []
        pictures: list[str] = []
        for part in message.content:
            if isinstance(part, PicturePart):
                self._check_pictures(len(paths) + 1, param)
                path = await self._pictures.add(decode_data_uri(part.image_url.url, param))
                paths.append(path)
                pictures.append(path)
            elif isinstance(part, RecordingPart):
                data = decode_base64(part.input_audio.data, param)
                texts.append(await self._transcribe(data, client, param))
            else:
                texts.append(part.text)
        return "\n".join(texts), tuple(pictures)

    async def _transcribe(self, data: bytes, client: str, param: str) -> str:
        if not self._can_transcribe:
            raise ApiError(f"{self._name} has no speech model", param=param)
        clip = decode_recording(data, param)
        return await replies.transcribe(self.model, self.model.transcribe(client, clip))

    def _check_pictures(self, count: int, param: str) -> None:
        if not self._can_see:
            raise ApiError(f"{self._name} does not accept pictures", param=param)
        if count > MAX_PICTURES:
            message = f"there are more than {MAX_PICTURES} pictures, the limit"
            raise ApiError(message, param=param, code="too_many_images")

    def _check_model(self, name: str | None) -> None:
        if name not in (None, "auto", self._name):
            raise ApiError(
                f"there is no model {name!r}; this server has {self._name}",
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
            max_tokens=body.max_completion_tokens or body.max_tokens or config.max_tokens,
            temperature=temperature,
            top_p=body.top_p or config.top_p,
            seed=None if body.seed is None else body.seed % 2**64,  # it may be negative
        )

    def _describe_model(self) -> ModelEntry:
        ready = self.model.ready
        architecture = Architecture(input_modalities=["text"])
        if self._can_see:
            architecture.input_modalities.append("image")
        if self._can_transcribe:
            architecture.input_modalities.append("audio")
        return ModelEntry(
            id=self._name,
            created=self._created,
            architecture=architecture,
            capabilities=Capabilities(vision=self._can_see, transcription=self._can_transcribe),
            context_length=ready.context if ready else None,
        )


@web.middleware
async def respond_with_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Respond with an error of OpenAI's form where a request fails."""
    try:
        return await handler(request)
    except ApiError as error:
        return error.to_response()
    except web.HTTPException as error:
        return from_http_error(error).to_response()


async def read_body(request: web.Request) -> bytes:
    """Return the body of a request.

    Raises:
        ApiError: It is larger than `MAX_BODY_BYTES`.
    """
    body = bytearray()
    async for part in request.content.iter_any():
        body += part
        if len(body) > MAX_BODY_BYTES or (request.content_length or 0) > MAX_BODY_BYTES:
            limit = MAX_BODY_BYTES // 1_000_000
            message = f"the request has more than {limit} MB, the limit"
            raise ApiError(message, status=413, code="request_too_large")
    return bytes(body)


def _respond(document: Document) -> web.Response:
    return web.json_response(text=document.encode())
