"""What the models of a server can do.

`/v1/models` lists only names on most servers, so their own interfaces are asked, too. No server has
all of them, and each answers the others with an error.
"""

import re
import threading
from dataclasses import dataclass

from mmtui.endpoint import faults
from mmtui.endpoint.client import Client
from mmtui.endpoint.completion import MAX_COUNT
from mmtui.endpoint.exchange import Cancellation
from mmtui.errors import MissingError, MmtuiError, UsageError

MAX_DESCRIBED = 50  # models of a list that are asked about one by one

Fields = dict[str, object]
_OUTPUTS = {"image": "draws", "audio": "speaks"}


@dataclass(frozen=True)
class ModelInfo:
    """What a server reports about a model; None where it does not.

    Attributes:
        name: Its name in requests.
        context: The size of its context, in tokens; 0 if it is unknown.
        can_see: Whether it accepts pictures.
        can_hear: Whether it accepts recordings.
        can_think: Whether it can think before it answers.
        can_chat: Whether it writes replies; an embedding model does not.
        can_transcribe: Whether the server transcribes recordings with it.
        outputs: What it writes beside text, "image" or "audio"; empty if that is unknown.
        languages: Codes of the languages that it speaks; empty if that is unknown.
        reports_loading: Whether the server reports the progress of loading, as `mmtui serve` does.
        reads_ahead: Whether a reply of 0 tokens reads a conversation ahead, as with `mmtui serve`.
        continues_on_request: Whether a request has to ask that a reply is continued, as for vLLM.
    """

    name: str
    context: int = 0
    can_see: bool | None = None
    can_hear: bool | None = None
    can_think: bool | None = None
    can_chat: bool = True
    can_transcribe: bool = False
    outputs: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    reports_loading: bool = False
    reads_ahead: bool = False
    continues_on_request: bool = False

    @property
    def summary(self) -> str:
        """What it can do, in a few words."""
        if not self.can_chat:
            return "for embeddings"
        abilities = {"sees": self.can_see, "hears": self.can_hear, "thinks": self.can_think}
        words = [word for word, is_able in abilities.items() if is_able]
        words += [word for output, word in _OUTPUTS.items() if output in self.outputs]
        if self.can_see is False:
            words.insert(0, "does not see")
        if self.context:
            words.append(f"{self.context:,} tokens of context")
        return ", ".join(words)


class Catalog:
    """The models of a server. Each is asked about once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, ModelInfo] = {}
        self._only: str | None = None  # the name of the only model that writes replies
        self._lock = threading.Lock()

    def list_models(self, cancellation: Cancellation) -> list[ModelInfo]:
        """Return all models.

        Raises:
            MmtuiError: The server can't be reached, or has no list of models.
            CancelledError: The request was cancelled.
        """
        entries = self._client.list_models(cancellation)
        described = [self._describe(entry, cancellation) for entry in entries[:MAX_DESCRIBED]]
        return described + [_read_entry(entry) for entry in entries[MAX_DESCRIBED:]]

    def require(self, name: str, cancellation: Cancellation) -> None:
        """Check that the server lists a model.

        Raises:
            MissingError: It does not, or can't be reached.
            CancelledError: The request was cancelled.
        """
        names = [str(entry["id"]) for entry in self._client.list_models(cancellation)]
        if name not in names:
            raise faults.explain_missing_model(self._client.endpoint, name, names)

    def resolve(self, name: str, cancellation: Cancellation) -> str:
        """Return the name of a model; for "auto", that of the only one that writes replies.

        Raises:
            MissingError: "auto", and the server can't be reached or has no model.
            UsageError: "auto", and the server has several models.
            CancelledError: The request was cancelled.
        """
        if name != "auto":
            return name
        with self._lock:
            if self._only is None:
                self._only = self._find_only(cancellation)
            return self._only

    def describe(self, name: str, cancellation: Cancellation) -> ModelInfo:
        """Return what a model can do. The name may be one that the server does not list.

        Raises:
            MissingError: The server can't be reached.
            CancelledError: The request was cancelled.
        """
        with self._lock:
            if name in self._known:
                return self._known[name]
            entries = self._client.list_models(cancellation)
            entry: Fields = next((each for each in entries if each["id"] == name), {"id": name})
            return self._describe(entry, cancellation)

    def check_inputs(
        self, name: str, cancellation: Cancellation, *, pictures: bool, recordings: bool
    ) -> ModelInfo:
        """Describe a model, and check that it accepts what it is going to get.

        What the server does not report is left to the server.

        Raises:
            UnsupportedInputError: The model does not accept pictures or recordings.
            MissingError: The server can't be reached.
            CancelledError: The request was cancelled.
        """
        info = self.describe(name, cancellation)
        if pictures and info.can_see is False:
            raise faults.explain_unsupported(name, "pictures")
        if recordings and info.can_hear is False:
            raise faults.explain_unsupported(name, "recordings")
        return info

    def forget(self) -> None:
        """Forget everything, since the server may have changed."""
        self._known, self._only = {}, None

    def _find_only(self, cancellation: Cancellation) -> str:
        entries = self._client.list_models(cancellation)
        names = [str(entry["id"]) for entry in entries]
        if 1 < len(names) <= MAX_DESCRIBED:
            described = [self._describe(entry, cancellation) for entry in entries]
            names = [info.name for info in described if info.can_chat]
        if len(names) == 1:
            return names[0]
        endpoint = self._client.endpoint
        if not names:
            raise MissingError(f"{endpoint.location} has no model", "load one there")
        raise UsageError(f"{endpoint.location} has {len(names)} models", faults.list_names(names))

    def _describe(self, entry: Fields, cancellation: Cancellation) -> ModelInfo:
        name = str(entry["id"])
        if name not in self._known:
            self._known[name] = self._ask(entry, cancellation)
        return self._known[name]

    def _ask(self, entry: Fields, cancellation: Cancellation) -> ModelInfo:
        info = _read_entry(entry)
        owner = entry.get("owned_by")
        if owner == "vllm" or info.can_see is not None:
            return info
        questions = [self._ask_lm_studio, self._ask_ollama, self._ask_llama_server]
        if owner == "llamacpp":
            questions = [self._ask_llama_server]
        for ask in questions:
            try:
                found = ask(info.name, cancellation)
            except MmtuiError:
                continue
            if found is not None:
                return found
        return info

    def _ask_llama_server(self, name: str, cancellation: Cancellation) -> ModelInfo | None:
        """Read the properties of llama-server, which has one model."""
        properties = self._fetch("/props", cancellation)
        modalities = _get_fields(properties, "modalities")
        if not modalities:
            return None
        return ModelInfo(
            name,
            context=_get_count(_get_fields(properties, "default_generation_settings"), "n_ctx"),
            can_see=modalities.get("vision") is True,
            can_hear=modalities.get("audio") is True,
        )

    def _ask_ollama(self, name: str, cancellation: Cancellation) -> ModelInfo | None:
        """Read what Ollama shows about a model. Its context is that of the parameters, if any."""
        shown = self._fetch("/api/show", cancellation, {"model": name})
        capabilities = shown.get("capabilities")
        if not isinstance(capabilities, list):
            return None
        context = re.search(r"^num_ctx\s+(\d{1,9})", str(shown.get("parameters", "")), re.MULTILINE)
        return ModelInfo(
            name,
            context=int(context[1]) if context else 0,
            can_see="vision" in capabilities,
            can_hear="audio" in capabilities,
            can_think="thinking" in capabilities,
            can_chat="completion" in capabilities,
        )

    def _ask_lm_studio(self, name: str, cancellation: Cancellation) -> ModelInfo | None:
        """Find a model in the list of LM Studio; its context is that of the loaded instance."""
        models = self._fetch("/api/v1/models", cancellation).get("models")
        for model in models if isinstance(models, list) else []:
            if not isinstance(model, dict):
                continue
            loaded = model.get("loaded_instances")
            instances = [each for each in loaded if isinstance(each, dict)] if loaded else []
            if name == model.get("key") or name in [each.get("id") for each in instances]:
                return _read_lm_studio(name, model, instances)
        return None

    def _fetch(self, path: str, cancellation: Cancellation, body: Fields | None = None) -> Fields:
        document = self._client.fetch(f"{self._client.endpoint.root}{path}", cancellation, body)
        return document if isinstance(document, dict) else {}


def _read_lm_studio(name: str, model: Fields, instances: list[Fields]) -> ModelInfo:
    capabilities = _get_fields(model, "capabilities")
    config = _get_fields(instances[0], "config") if instances else {}
    return ModelInfo(
        name,
        context=_get_count(config, "context_length"),
        can_see=capabilities.get("vision") is True,
        can_hear=False,
        can_think=bool(capabilities["reasoning"]) if "reasoning" in capabilities else None,
        can_chat=model.get("type") != "embedding",
    )


def _read_entry(entry: Fields) -> ModelInfo:
    """Read the entry of a list; some servers have a context or modalities in it."""
    contexts = (
        _get_count(entry, "max_model_len"),  # vLLM
        _get_count(entry, "context_length"),  # OpenRouter
        _get_count(_get_fields(entry, "meta"), "n_ctx"),  # llama-server
    )
    return ModelInfo(
        str(entry["id"]),
        context=next(filter(None, contexts), 0),
        can_see=_accepts(entry, "image", "vision"),
        can_hear=_accepts(entry, "audio", "audio"),
        can_transcribe=_get_fields(entry, "capabilities").get("transcription") is True,
        outputs=_get_outputs(entry),
        languages=_get_languages(entry),
        reports_loading=entry.get("owned_by") == "mmtui",
        reads_ahead=entry.get("owned_by") == "mmtui",
        continues_on_request=entry.get("owned_by") == "vllm",
    )


def _accepts(entry: Fields, modality: str, capability: str) -> bool | None:
    """Return whether a model accepts a modality.

    llama-server and OpenRouter list the modalities, Mistral has a field for each.
    """
    modalities = _get_fields(entry, "architecture").get("input_modalities")
    if isinstance(modalities, list):
        return modality in modalities
    value = _get_fields(entry, "capabilities").get(capability)
    return value if isinstance(value, bool) else None


def _get_outputs(entry: Fields) -> tuple[str, ...]:
    """Return what a model writes beside text, as OpenRouter reports it."""
    modalities = _get_fields(entry, "architecture").get("output_modalities")
    listed = modalities if isinstance(modalities, list) else []
    return tuple(output for output in _OUTPUTS if output in listed)


def _get_languages(entry: Fields) -> tuple[str, ...]:
    """Return the languages that a model of `mmtui serve` speaks."""
    languages = entry.get("languages")
    return tuple(map(str, languages)) if isinstance(languages, list) else ()


def _get_fields(document: Fields, key: str) -> Fields:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _get_count(document: Fields, key: str) -> int:
    value = document.get(key)
    return value if isinstance(value, int) and 0 < value < MAX_COUNT else 0
