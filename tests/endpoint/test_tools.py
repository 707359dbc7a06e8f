"""Tool calls and their results in responses: shown as text, and never executed."""

import json

import pytest

from mmtui.endpoint.completion import Response


def read(*messages: dict, key: str = "delta") -> tuple[str, str]:
    """Return the tool text and the text of a reply with these parts."""
    response = Response(0.0)
    deltas = [
        delta for message in messages for delta in response.add({"choices": [{key: message}]})
    ]
    tools = "".join(delta.text for delta in deltas if delta.is_tool)
    return tools, "".join(delta.text for delta in deltas if not delta.is_tool)


def to_call(arguments: object, name: str | None = None, **fields: object) -> dict:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"tool_calls": [{"type": "function", "function": function, **fields}]}


def test_the_fragments_of_calls_are_joined_in_a_stream():
    parts = [
        {"role": "assistant", "content": None},
        to_call("", "look_up", index=0, id="a"), to_call('{"word": ', index=0),
        to_call('"cat"}', index=0), to_call("{}", "get_time", index=1, id="b"),
    ]  # fmt: skip
    assert read(*parts) == ('look_up {"word": "cat"}\nget_time {}', "")


def test_calls_with_the_same_index_are_told_apart_by_their_ids():
    parts = [to_call("{}", "first", index=0, id="a"), to_call("{}", "second", index=0, id="b")]
    assert read(*parts)[0] == "first {}\nsecond {}"


def test_a_response_that_is_not_streamed_has_whole_calls():
    calls = to_call({"word": "é"}, "look_up")["tool_calls"] + to_call("{}", "time")["tool_calls"]
    message = {"role": "assistant", "content": "Wait.", "tool_calls": calls}
    assert read(message, key="message") == ('look_up {"word": "é"}\ntime {}', "Wait.")


def test_results_of_tools_that_the_server_runs_are_tool_text():
    parts = [
        to_call("{}", "get_time", index=0, id="a"), {"role": "tool", "content": "12:"},
        {"content": "30"}, {"role": "assistant", "content": "It is "}, {"content": "half past."},
        to_call("{}", "again", index=0, id="a"),
    ]  # fmt: skip
    assert read(*parts) == ("get_time {}\n-> 12:30\nagain {}", "It is half past.")


def test_the_call_of_an_old_server_is_shown():
    assert read({"function_call": {"name": "f", "arguments": "{}"}})[0] == "f {}"


@pytest.mark.parametrize(
    "calls", [None, 7, "x", [], [7], [{}], [{"function": 7}], {"function": {"name": "f"}}]
)
def test_malformed_calls_are_ignored(calls):
    assert read({"tool_calls": calls, "content": "Hi."}) == ("", "Hi.")


def test_a_character_that_is_split_between_parts_is_whole():
    first, second = json.loads('["\\ud83d", "\\ude00"]')
    parts = [to_call(first, "f", index=0), to_call(second, index=0)]
    assert read(*parts)[0] == "f \N{GRINNING FACE}"
