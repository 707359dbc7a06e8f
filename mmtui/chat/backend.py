"""Which backend runs the model of a chat: a process on this machine, or a server."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mmtui.chat.config import Config

if TYPE_CHECKING:
    from mmtui.chat.model_process import ModelPort
    from mmtui.chat.protocol import Event
    from mmtui.endpoint.address import Endpoint


def find_endpoint(config: Config) -> "Endpoint | None":
    """Return the server that the settings name; None runs models on this machine.

    Raises:
        UsageError: The setting is not the address of a server.
    """
    if not config.endpoint.strip():
        return None
    from mmtui.endpoint.address import parse_endpoint

    return parse_endpoint(config.endpoint, config.api_key_env, config.endpoint_timeout)


def open_model(config: Config, on_event: "Callable[[Event], None]") -> "ModelPort":
    """Return the model of a chat, which starts or connects with its first request.

    Args:
        config: The settings.
        on_event: Called with each event, in a background thread.

    Raises:
        UsageError: The endpoint in the settings is not the address of a server.
    """
    if (endpoint := find_endpoint(config)) is None:
        from mmtui.chat.model_process import ModelProcess

        return ModelProcess(
            config.model, on_event, config.engine, speech=config.speech, read=config.reads
        )
    from mmtui.chat.endpoint_model import EndpointModel

    return EndpointModel(
        endpoint, config.model, on_event, config.speech, can_read=config.reads is True
    )
