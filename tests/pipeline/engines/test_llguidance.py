"""Answers that are JSON documents, with each package that contains llama.cpp."""

import json
from pathlib import Path

import pytest
from gguf_models import write_gguf

from mmtui.errors import GrammarError
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.engines import probe
from mmtui.pipeline.engines.llama_library import find_packages, load_library
from mmtui.pipeline.engines.sampling import GREEDY, Sampling
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.reply import Reply

OBJECT = {"type": "object"}
CAT = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer"},
        "colour": {"enum": ["black", "white"]},
    },
    "required": ["name", "age", "colour"],
    "additionalProperties": False,
}


@pytest.fixture(params=find_packages())
def assistant(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch) -> Assistant:
    """Return a random model with the tokens of bytes."""
    library, outcome = load_library(request.param), probe.find_outcome(request.param)
    monkeypatch.setattr(probe, "choose_library", lambda: (library, outcome))
    file = write_gguf(tmp_path / "model.gguf", "llama")
    return Assistant(checkpoint.find(str(file)))


def ask(assistant: Assistant, schema: object, max_tokens: int, sampling=GREEDY) -> Reply:
    turns = [Turn("user", ("A cat",))]
    *pieces, reply = assistant.reply(turns, sampling, max_tokens, schema=json.dumps(schema))
    assert isinstance(reply, Reply) and "".join(map(str, pieces)) == reply.text
    return reply


def test_an_answer_can_be_parsed_wherever_it_is_cut_off(assistant):
    for max_tokens in range(1, 30):
        sampling = Sampling(1.0, seed=max_tokens)
        reply = ask(assistant, OBJECT, max_tokens, sampling)
        assert isinstance(json.loads(reply.text), dict)
        assert reply.completion_tokens <= max_tokens


def test_an_answer_has_the_form_of_the_schema(assistant):
    replies = [ask(assistant, CAT, 200, Sampling(1.0, seed=seed)) for seed in range(5)]
    ended = [json.loads(reply.text) for reply in replies if reply.stop_reason == "stop"]
    assert ended
    for document in ended:
        assert sorted(document) == ["age", "colour", "name"]
        assert isinstance(document["name"], str) and isinstance(document["age"], int)
        assert document["colour"] in ("black", "white")


def test_a_seed_gives_the_same_answer_and_greedy_answers_do_not_vary(assistant):
    for sampling in (GREEDY, Sampling(1.0, seed=3)):
        assert ask(assistant, CAT, 40, sampling).text == ask(assistant, CAT, 40, sampling).text


def test_the_next_answer_is_not_restricted(assistant):
    ask(assistant, OBJECT, 5)
    *_, reply = assistant.reply([Turn("user", ("A cat",))], max_tokens=5)
    assert isinstance(reply, Reply) and not reply.text.startswith("{")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "https://example.org/schema.json"},
        {"$ref": "#/nowhere"},
        {"type": "string", "pattern": "["},
        {"type": "object", "properties": 5},
        {"anyOf": [{"type": "array", "items": {}, "maxItems": 10**9}]},
    ],
)
def test_a_schema_that_can_t_be_used_is_refused(assistant, schema):
    with pytest.raises(GrammarError):
        ask(assistant, schema, 5)
    assert ask(assistant, OBJECT, 5).text


def test_torch_has_no_grammars(tiny):
    with pytest.raises(GrammarError, match="torch engine has no grammars"):
        ask(Assistant(tiny, engine="torch"), OBJECT, 5)
