"""The OpenAPI document, and requests that schemathesis makes of it."""

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from api_server import TOKEN, ApiServer, serve_api
from fake_audio import FakeSynthesizer


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with serve_api(synthesizer=FakeSynthesizer()) as running:
        yield running


def get_document(server: ApiServer) -> dict:
    connection = http.client.HTTPConnection(urlsplit(server.root).netloc, timeout=60)
    connection.request("GET", "/v1/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"})
    return json.loads(connection.getresponse().read())


def test_the_document_has_all_paths(server):
    document = get_document(server)
    assert set(document["paths"]) == {
        "/v1/models",
        "/v1/models/{model}",
        "/v1/chat/completions",
        "/v1/audio/transcriptions",
        "/v1/audio/speech",
        "/health",
    }


@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
def test_the_api_keeps_what_the_document_promises(server, mode):
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, given, settings
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    schema = schemathesis.openapi.from_dict(get_document(server))
    schema.config.update(base_url=server.root)
    limited = settings(
        max_examples=10,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    if mode == "NEGATIVE":
        schema = schema.include(method="POST")  # the others have nothing that could be invalid
    for result in schema.get_all_operations():
        strategy = result.ok().as_strategy(generation_mode=schemathesis.GenerationMode[mode])

        def check(case) -> None:
            case.call_and_validate(
                headers={"Authorization": f"Bearer {TOKEN}"},
                # A schema can't say that a text is a picture in Base64.
                excluded_checks=[positive_data_acceptance],
            )

        limited(given(case=strategy)(check))()
