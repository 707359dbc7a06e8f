"""The OpenAPI document of the API: https://spec.openapis.org/oas/v3.2.0."""

from collections.abc import Mapping

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import mmtui
from mmtui.server.requests import CompletionRequest, SpeechRequest, TranscriptionRequest
from mmtui.server.responses import (
    ChatCompletion,
    Chunk,
    ErrorDocument,
    Health,
    ModelEntry,
    ModelList,
    Transcription,
)
from mmtui.server.speech import MEDIA_TYPES

_BODIES: tuple[type[BaseModel], ...] = (CompletionRequest, SpeechRequest, TranscriptionRequest)
_DOCUMENTS: tuple[type[BaseModel], ...] = (
    ChatCompletion,
    Chunk,
    ErrorDocument,
    Health,
    ModelEntry,
    ModelList,
    Transcription,
)
_ERRORS = {
    "400": "The request is invalid.",
    "401": "The token is missing or wrong.",
    "403": "The request comes from a page of another site.",
    "404": "There is no such model.",
    "413": "The request is too large.",
    "429": "Too many requests are waiting; Retry-After says when to try again.",
    "500": "The model failed.",
    "501": "The voice or the codec is not installed.",
}

# The last event has the data [DONE] instead of a chunk.
_EVENT = {
    "type": "object",
    "properties": {"data": {"type": "string", "contentMediaType": "application/json"}},
    "required": ["data"],
}
_SOUNDS = {
    media_type: {"schema": {"type": "string", "format": "binary"}}
    for media_type in MEDIA_TYPES.values()
}


def make_document() -> dict[str, object]:
    """Return the document."""
    _, schemas = models_json_schema(
        [
            *((body, "validation") for body in _BODIES),
            *((document, "serialization") for document in _DOCUMENTS),
        ],
        ref_template="#/components/schemas/{model}",
    )
    return {
        "openapi": "3.2.0",
        "info": {"title": "mmtui", "version": mmtui.__version__},
        "security": [{"token": []}],
        "paths": _make_paths(),
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _make_paths() -> dict[str, object]:
    form: dict[str, object] = {
        "type": "object",
        "properties": {
            "file": {"type": "string", "format": "binary"},
            "model": {"type": "string"},
            "response_format": {"type": "string", "enum": ["json", "text"]},
            "language": {"type": "string"},
        },
        "required": ["file"],
    }
    model = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "/v1/models": {"get": _make_operation("List the models.", ModelList)},
        "/v1/models/{model}": {
            "get": {"parameters": [model], **_make_operation("Describe a model.", ModelEntry)}
        },
        "/v1/chat/completions": {
            "post": {
                "requestBody": _make_body("application/json", _refer(CompletionRequest)),
                **_make_operation(
                    "Answer a conversation.",
                    ChatCompletion,
                    {"text/event-stream": {"itemSchema": _EVENT}},
                ),
            }
        },
        "/v1/audio/transcriptions": {
            "post": {
                "requestBody": _make_body("multipart/form-data", form),
                **_make_operation(
                    "Transcribe the first 15 s of a recording.",
                    Transcription,
                    {"text/plain": {"schema": {"type": "string"}}},
                ),
            }
        },
        "/v1/audio/speech": {
            "post": {
                "requestBody": _make_body("application/json", _refer(SpeechRequest)),
                **_make_operation("Read a text aloud.", None, _SOUNDS),
            }
        },
        "/health": {"get": {"security": [], **_make_operation("Return the state.", Health)}},
    }


def _make_operation(
    summary: str, document: type[BaseModel] | None, others: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Return an operation that responds with a document, other content or an error."""
    json = {"application/json": {"schema": _refer(document)}} if document else {}
    error = {"application/json": {"schema": _refer(ErrorDocument)}}
    return {
        "summary": summary,
        "responses": {
            "200": {"description": "The request succeeded.", "content": {**json, **(others or {})}},
            **{code: {"description": text, "content": error} for code, text in _ERRORS.items()},
        },
    }


def _make_body(content_type: str, schema: Mapping[str, object]) -> dict[str, object]:
    return {"required": True, "content": {content_type: {"schema": schema}}}


def _refer(document: type[BaseModel]) -> dict[str, object]:
    return {"$ref": f"#/components/schemas/{document.__name__}"}
