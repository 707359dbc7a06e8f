"""`mmtui pull` and `mmtui models`: download weights, and list them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmtui.chat.backend import find_endpoint
from mmtui.chat.config import Config
from mmtui.cli.options import EndpointOption, JsonOption, load_model, print_note
from mmtui.progress import print_json, reporting
from mmtui.text import one_line

if TYPE_CHECKING:
    from mmtui.endpoint.address import Endpoint


def pull(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Model to fetch; see `mmtui ask --help`.")
    ] = "auto",
) -> None:
    """Fetch the weights of a model.

    Afterwards it works without a network.
    """
    with reporting() as report:
        from mmtui.pipeline.assets import fetch

        assistant = load_model(model, None, report).assistant
        parts = assistant.spec.assets
        paths = {role: fetch.fetch(asset, report) for role, asset in parts.items()}
        paths["language"] = assistant.prepare_language()
    for role, path in paths.items():
        print(one_line(f"{role:9} {parts[role].uri}"))
        print(one_line(f"{'':9} {path}"))
    print(one_line(f"{assistant.name} is ready; the cache is {fetch.get_cache_folder()}"))


def _print_stored_model(model: dict[str, Any]) -> None:
    """Print a model of another program, and its file."""
    facts = [model["quantization"], f"{model['size'] / 1e9:.1f} GB"]
    facts += ["sees"] * model["sees"] + ["has an audio tower"] * model["hears"]
    facts += [] if model["fits"] else ["does not fit into the free memory"]
    print(one_line(f"{model['name']} ({', '.join(filter(None, facts))})"))
    for part in model["parts"]:
        print(one_line(f"  {part['role']:9} {model['store']:18} {part['path']}"))


def models(endpoint: EndpointOption = None, as_json: JsonOption = False) -> None:
    """List the models, with what is here and what would be fetched.

    GGUF files that Ollama, LM Studio, Hugging Face's cache and llama.cpp's cache have are listed,
    too; --model takes their names.

    With an endpoint, list the models of that server, and what they can do.
    """
    if (server := find_endpoint(Config.load().with_endpoint(endpoint))) is not None:
        _print_server_models(server, as_json=as_json)
        return
    from mmtui.pipeline.assets.inventory import list_models

    known = list_models(Config.load().speech)
    if as_json:
        print_json(known)
        return
    for model in known:
        if "store" in model:
            _print_stored_model(model)
            continue
        ability = "sees" if model["sees"] else "no trained projector: reads and hears"
        print(one_line(f"{model['name']} ({model.get('error', ability)})"))
        for part in model["parts"]:
            state = "here" if part["path"] else f"{part['download'] / 1e6:,.0f} MB to fetch"
            print(one_line(f"  {part['role']:9} {state:18} {part['uri']}"))


def _print_server_models(endpoint: "Endpoint", *, as_json: bool) -> None:
    """Print the models of a server. In JSON, what the server does not report is null."""
    from mmtui.endpoint.capabilities import Catalog
    from mmtui.endpoint.client import Client
    from mmtui.endpoint.exchange import Cancellation

    if endpoint.note:
        print_note(f"note: {endpoint.note}")
    found = Catalog(Client(endpoint)).list_models(Cancellation())
    if not found:
        print_note(f"note: {endpoint.location} has no models")
    if as_json:
        print_json(
            [
                {
                    "name": model.name,
                    "sees": model.can_see,
                    "hears": model.can_hear,
                    "thinks": model.can_think,
                    "chats": model.can_chat,
                    "context": model.context or None,
                }
                for model in found
            ]
        )
        return
    for model in found:
        print(one_line(f"{model.name:32} {model.summary}".rstrip()))
