"""`mmtui pull` and `mmtui models`: the weights that are here, and fetching them."""

from typing import Annotated

import typer

from mmtui.cli.options import JsonOption, load_model
from mmtui.progress import print_json, reporting
from mmtui.text import one_line


def pull(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="Model to fetch; see `mmtui ask --help`.")
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


def models(as_json: JsonOption = False) -> None:
    """List the models, with what is here and what would be fetched."""
    from mmtui.pipeline.assets.inventory import list_models

    known = list_models()
    if as_json:
        print_json(known)
        return
    for model in known:
        ability = "sees" if model["sees"] else "no trained projector: reads and hears"
        print(one_line(f"{model['name']} ({model.get('error', ability)})"))
        for part in model["parts"]:
            state = "here" if part["path"] else f"{part['download'] / 1e6:,.0f} MB to fetch"
            print(one_line(f"  {part['role']:9} {state:18} {part['uri']}"))
