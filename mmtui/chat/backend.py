"""Which backend runs the model of a chat: a process on this machine, or a server."""

from typing import TYPE_CHECKING

from mmtui.chat.config import Config

if TYPE_CHECKING:
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
