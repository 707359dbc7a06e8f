"""What servers report about their models: `mmtui models`, and pictures that are not sent."""

import json

import pytest
from scripted_server import ScriptedServer, hang, reply

OLLAMA = {
    "/v1/models": {"data": [{"id": "gemma3:4b", "owned_by": "library"}]},
    "/api/show": {
        "capabilities": ["completion", "vision", "thinking"],
        "parameters": "stop x\nnum_ctx                        8192",
        "model_info": {"gemma3.context_length": 131072},
    },
}
LM_STUDIO = {
    "/v1/models": {
        "data": [
            {"id": "qwen/qwen3-vl-4b", "owned_by": "organization_owner"},
            {"id": "text-embedding-nomic", "owned_by": "organization_owner"},
        ]
    },
    "/api/v1/models": {
        "models": [
            {
                "type": "llm",
                "key": "qwen/qwen3-vl-4b",
                "loaded_instances": [{"id": "mine", "config": {"context_length": 4096}}],
                "max_context_length": 262144,
                "capabilities": {"vision": True, "trained_for_tool_use": True},
            },
            {"type": "embedding", "key": "text-embedding-nomic", "loaded_instances": []},
        ]
    },
}
LLAMA_SERVER = {
    "/v1/models": {"data": [{"id": "model.gguf", "owned_by": "llamacpp"}]},
    "/props": {
        "default_generation_settings": {"n_ctx": 2048},
        "modalities": {"vision": False, "audio": True},
    },
}
NEW_LLAMA_SERVER = {
    "/v1/models": {
        "data": [
            {
                "id": "model.gguf",
                "owned_by": "llamacpp",
                "architecture": {"input_modalities": ["text", "image"]},
                "meta": {"n_ctx": 512, "n_ctx_train": 8192},
            }
        ]
    },
}
VLLM = {"/v1/models": {"data": [{"id": "Qwen/X", "owned_by": "vllm", "max_model_len": 32768}]}}
UNKNOWN = {"/v1/models": {"data": [{"id": "m"}, {"no": "id"}, "text"]}, "/props": ["x"]}


def describe(name, sees=None, hears=None, thinks=None, chats=True, context=None) -> dict:
    return {
        "name": name, "sees": sees, "hears": hears, "thinks": thinks, "chats": chats,
        "context": context,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        (OLLAMA, [describe("gemma3:4b", True, False, True, context=8192)]),
        (
            LM_STUDIO,
            [
                describe("qwen/qwen3-vl-4b", True, False, context=4096),
                describe("text-embedding-nomic", False, False, chats=False),
            ],
        ),
        (LLAMA_SERVER, [describe("model.gguf", False, True, context=2048)]),
        (NEW_LLAMA_SERVER, [describe("model.gguf", True, False, context=512)]),
        (VLLM, [describe("Qwen/X", context=32768)]),
        (UNKNOWN, [describe("m")]),
    ],
    ids=["Ollama", "LM Studio", "llama-server", "new llama-server", "vLLM", "unknown"],
)
def test_models_lists_what_each_server_reports(mmtui, documents, expected):
    with ScriptedServer(reply("x")) as server:
        server.documents = documents
        run = mmtui("models", "--endpoint", server.url, "--json")
    assert run.code == 0, run.err
    assert run.json == expected


def test_models_lists_abilities_in_words(mmtui):
    with ScriptedServer(reply("x")) as server:
        server.documents = OLLAMA
        run = mmtui("models", env={"MMTUI_ENDPOINT": server.url})
        local = mmtui("models", "--endpoint", "", env={"MMTUI_ENDPOINT": server.url})
    assert run.out.split("  ")[0] == "gemma3:4b"
    assert run.out.strip().endswith("sees, thinks, 8,192 tokens of context")
    assert local.out.startswith("phi2 (") or local.out.startswith("smol (")
    assert [each.path for each in server.requests] == [
        "/v1/models", "/api/v1/models", "/api/show",
    ]  # fmt: skip


def test_an_embedding_model_beside_the_only_other_one_is_not_chosen(mmtui):
    with ScriptedServer(reply("Hi.")) as server:
        server.documents = LM_STUDIO
        run = mmtui("ask", "--endpoint", server.url, "Hello")
    assert (run.code, run.out) == (0, "Hi.\n")
    assert server.completions[0].json["model"] == "qwen/qwen3-vl-4b"


def test_a_picture_for_a_model_that_does_not_see_is_not_sent(mmtui, cat):
    with ScriptedServer(reply("Hi.")) as server:
        server.documents = LLAMA_SERVER
        run = mmtui("ask", "--endpoint", server.url, "--image", cat, "What is it?")
    assert run.code == 3 and run.out == ""
    assert run.err.startswith("error: model.gguf does not accept pictures\nhint: choose a model")
    assert not server.completions


@pytest.mark.parametrize("documents", [VLLM, UNKNOWN], ids=["vLLM", "unknown"])
def test_where_nothing_is_known_a_picture_is_sent(mmtui, cat, documents):
    with ScriptedServer(reply("A cat.")) as server:
        server.documents = documents
        run = mmtui("ask", "--endpoint", server.url, "--image", cat, "What is it?")
    assert (run.code, run.out) == (0, "A cat.\n"), run.err


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"data": 3}', b"<html>", b'{"data": [', b"[" * 100_000, b"\xff\xfe"],
    ids=["empty", "list", "number", "page", "cut off", "nested", "binary"],
)
def test_rubbish_instead_of_a_list_is_one_line(mmtui, body):
    with ScriptedServer(reply("x")) as server:
        server.documents = {"/v1/models": body}
        run = mmtui("models", "--endpoint", server.url)
    assert run.code == 1 and run.out == ""
    assert "not one of an OpenAI-compatible API" in run.err and len(run.err.splitlines()) == 2


def test_a_list_that_never_comes_is_given_up(mmtui):
    with ScriptedServer(reply("x")) as server:
        server.documents["/v1/models"] = hang()
        environment = {"MMTUI_ENDPOINT_TIMEOUT": "0.3"}
        run = mmtui("models", "--endpoint", server.url, env=environment)
    assert run.code == 1 and "the server sent nothing for 0.3 s" in run.err


def test_hostile_names_are_printed_without_control_characters(mmtui):
    with ScriptedServer(reply("x"), models=["\x1b]0;owned\x07\nname\u202e"]) as server:
        run = mmtui("models", "--endpoint", server.url)
        as_json = mmtui("models", "--endpoint", server.url, "--json")
    assert run.out == "]0;owned\\nname\n"
    assert json.loads(as_json.out)[0]["name"] == "\x1b]0;owned\x07\nname\u202e"


def test_a_server_without_models_is_noted(mmtui):
    with ScriptedServer(reply("x"), models=[]) as server:
        run = mmtui("models", "--endpoint", server.url)
    assert (run.code, run.out) == (0, "")
    assert run.err.endswith("has no models\n")
