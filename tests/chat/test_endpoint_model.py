"""A chat with a model on a server; a scripted server sends replies and faults."""

import queue

import numpy as np
import pytest
from scripted_server import (
    ScriptedServer,
    hang,
    refuse,
    reply,
    reset,
    send,
    to_event,
    to_part,
)

from mmtui.chat import attachments
from mmtui.chat.backend import open_model
from mmtui.chat.config import Config
from mmtui.chat.export import to_json
from mmtui.chat.history.history import History
from mmtui.chat.notice import Notice
from mmtui.chat.protocol import ChatTurn, Event, Piece
from mmtui.chat.session import Session
from mmtui.errors import MissingError, UsageError

TIMEOUT_S = 20


def test_all_turns_of_a_conversation_are_sent_and_the_usage_is_shown(connect):
    chat = connect(reply("Hi ", "there."), reply("Blue."))
    assert chat.ask("Hello") == "Hi there."
    status = chat.session.status
    assert (status.used, status.state) == (15, "idle")
    assert status.model == "tiny" and status.engine in chat.server.url
    assert chat.ask("Which colour?") == "Blue."
    assert chat.server.completions[1].json["messages"] == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi there."},
        {"role": "user", "content": "Which colour?"},
    ]


def test_stopping_closes_the_connection_at_once_and_keeps_the_text(connect):
    chat = connect(hang(to_part("Part")), reply("Again."))
    message = chat.session.send("Hello")
    chat.handle_until(lambda: message.text == "Part")
    chat.session.stop()
    assert chat.server.hung_up.wait(TIMEOUT_S)
    assert (message.text, message.state) == ("Part", "stopped")
    assert chat.ask("And now?") == "Again."
    assert not chat.notices


def test_a_stopped_reply_is_continued_and_a_reply_is_regenerated(connect):
    chat = connect(reply("One, ", finish_reason="length"), reply("two."), reply("Other."))
    chat.ask("Count")
    message = chat.session.continue_()
    chat.finish()
    assert (message.text, message.state) == ("One, two.", "complete")
    assert chat.server.completions[1].json["messages"][-1] == {
        "role": "assistant", "content": "One, ",
    }  # fmt: skip
    chat.session.regenerate()
    chat.finish()
    assert chat.texts == ["Count", "Other."]
    assert len(chat.server.completions[2].json["messages"]) == 1


def test_pictures_are_sent_in_every_turn_and_encoded_once(connect, cat):
    chat = connect(reply("Two cats."), reply("Orange."))
    chat.ask("What is this?", cat, cat)
    content = chat.server.completions[0].json["messages"][0]["content"]
    assert [part["type"] for part in content] == ["image_url", "image_url", "text"]
    for file in chat.session.conversation.thread[0].attachments:
        chat.session.file(file).write_bytes(b"")  # the file is not read again
    chat.ask("Which colour?")
    again = chat.server.completions[1].json["messages"]
    assert again[0]["content"] == content and len(again) == 3
    assert again[2] == {"role": "user", "content": "Which colour?"}


def test_a_broken_reply_is_kept_with_the_fault_and_can_be_tried_again(connect):
    chat = connect(reset(to_part("Par")), reply("Whole."))
    chat.ask("Hello")
    assert chat.texts == ["Hello", "Par"]
    assert chat.session.conversation.thread[1].state == "failed"
    [notice] = chat.notices
    assert "closed the connection" in notice.text and notice.hint
    chat.session.regenerate()
    chat.finish()
    assert chat.texts == ["Hello", "Whole."]


def test_a_wait_for_a_busy_server_is_shown_and_can_be_stopped(connect):
    chat = connect(refuse(503, {"error": "loading"}, Retry_After="90"), reply("Now."))
    message = chat.session.send("Hello")
    chat.handle_until(lambda: "busy" in chat.session.status.step)
    assert chat.session.status.step == "the server is busy, waiting 90 s"
    chat.session.stop()
    assert message.state == "stopped" and chat.session.status.step == ""
    assert chat.ask("And now?") == "Now."


def test_a_server_that_still_loads_is_waited_for_when_the_chat_opens(connect):
    chat = connect(reply("Hi."))
    ready = chat.server.documents["/v1/models"]

    def load(handler) -> None:
        chat.server.documents["/v1/models"] = ready
        refuse(503, {"error": {"message": "Loading model"}}, Retry_After="1")(handler)

    chat.server.documents["/v1/models"] = load
    chat.session.load()
    chat.handle_until(lambda: chat.session.status.state == "idle")
    assert chat.session.status.model == "tiny" and not chat.notices


def test_models_are_listed_checked_and_switched(connect):
    chat = connect(reply("Hi."), models=("first", "second"))
    assert [name for name, _ in chat.session.list_models()] == ["first", "second"]
    chat.session.load()
    chat.handle_until(lambda: bool(chat.notices))
    assert "has 2 models" in chat.notices[0].text and "first, second" in (
        chat.notices[0].hint or ""
    )
    with pytest.raises(MissingError, match="has no model third"):
        chat.session.find_model("third")
    chat.session.find_model("second")
    chat.session.switch_model("second")
    chat.handle_until(lambda: chat.session.status.state == "idle")
    assert chat.session.status.model == "second"
    chat.ask("Hello")
    assert chat.server.completions[0].json["model"] == "second"


def test_a_picture_for_a_model_that_does_not_see_returns_to_the_prompt(connect, cat):
    chat = connect(reply("Hi."))
    chat.server.documents["/v1/models"] = {
        "data": [{"id": "blind", "architecture": {"input_modalities": ["text"]}}]
    }
    attachment = chat.session.store_attachment(attachments.load(cat))
    chat.session.send("What is this?", (attachment,))
    drafts = []
    while chat.session.is_answering:
        drafts.append(chat.session.handle_event(chat.events.get(timeout=TIMEOUT_S)))
    assert drafts[-1] is not None
    assert (drafts[-1].text, drafts[-1].attachments) == ("What is this?", (attachment,))
    assert not chat.texts and not chat.server.completions
    assert chat.notices[0].text == "blind does not accept pictures" and chat.notices[0].hint
    assert chat.session.list_models() == [("blind", "does not see")]


def test_the_capabilities_of_a_server_are_requested_once(connect):
    chat = connect(reply("Hi."))
    chat.ask("Hello")
    chat.ask("Hello")
    requests = chat.server.requests
    paths = [request.path for request in requests if request not in chat.server.completions]
    assert sorted(paths) == sorted(["/v1/models"] * 2 + ["/api/v1/models", "/api/show", "/props"])


def test_the_oldest_turns_are_dropped_when_the_context_is_full(connect):
    full = refuse(400, {"error": {"message": "exceeds the available context size"}})
    chat = connect(reply("1"), reply("2"), reply("3"), full, full, reply("4"))
    for text in ("One", "Two", "Three", "Four"):
        chat.ask(text)
    contents = [
        [message["content"] for message in request.json["messages"]]
        for request in chat.server.completions[-3:]
    ]
    assert contents == [
        ["One", "1", "Two", "2", "Three", "3", "Four"],
        ["Two", "2", "Three", "3", "Four"],
        ["Three", "3", "Four"],
    ]
    assert chat.texts[-1] == "4" and chat.session.status.dropped == 4
    assert [notice.text for notice in chat.notices] == [
        "the context is full: the oldest 4 turns are left out"
    ]


def test_a_message_that_is_too_long_alone_returns_to_the_prompt(connect):
    chat = connect(refuse(400, {"error": {"message": "maximum context length is 9 tokens"}}))
    chat.session.send("Much too long")
    drafts = []
    while chat.session.is_answering:
        drafts.append(chat.session.handle_event(chat.events.get(timeout=TIMEOUT_S)))
    assert drafts[-1] is not None and drafts[-1].text == "Much too long"
    assert "maximum context length is 9 tokens" in chat.notices[0].text
    assert not chat.texts


def test_thinking_is_separate_from_the_text_and_neither_stored_nor_sent_back(connect):
    parts = [to_part(reasoning="Hm"), to_part(reasoning_content="m."), to_part("Yes.", "stop")]
    chat = connect(send(*parts), reply("No."))
    assert chat.ask("Is it?") == "Yes."
    message = chat.session.conversation.thread[1]
    assert (message.thinking, message.text) == ("Hmm.", "Yes.")
    assert "Hmm." not in to_json(chat.session.conversation)
    chat.ask("Is it not?")
    assert "Hmm." not in chat.server.completions[1].body.decode()
    stored, _ = chat.session.store.find(chat.session.conversation.id).result()
    assert [message.thinking for message in stored.thread] == [""] * 4


def test_a_picture_that_the_model_does_not_accept_gives_a_notice_when_it_is_attached(connect, cat):
    chat = connect(reply("Hi."))
    chat.server.documents["/v1/models"] = {
        "data": [{"id": "blind", "architecture": {"input_modalities": ["text"]}}]
    }
    chat.session.load()
    chat.handle_until(lambda: chat.session.status.state == "idle")
    attachment = chat.session.store_attachment(attachments.load(cat))
    chat.session.prepare_attachments((attachment,))
    chat.handle_until(lambda: bool(chat.notices))
    assert chat.notices[0].text == "blind does not accept pictures"


def test_a_model_that_hears_gets_recordings_without_a_transcript(connect):
    chat = connect(reply("A bell."), reply("Loud."))
    chat.session.configure(listen="model")
    recording = chat.session.store_clip(np.ones(8000, np.float32), "")
    chat.session.send("", (recording,))
    chat.finish()
    chat.ask("How was it?")
    first, _, last = chat.server.completions[1].json["messages"]
    assert [part["type"] for part in first["content"]] == ["input_audio"]
    assert last["content"] == "How was it?"
    chat.session.configure(listen="whisper")
    chat.ask("And now?")
    assert "input_audio" not in chat.server.completions[2].body.decode()


def test_vllm_is_asked_to_continue_a_reply(connect):
    chat = connect(reply("One, ", finish_reason="length"), reply("two."))
    chat.server.documents["/v1/models"] = {"data": [{"id": "m", "owned_by": "vllm"}]}
    chat.ask("Count")
    chat.session.continue_()
    chat.finish()
    first, second = (request.json for request in chat.server.completions)
    assert "continue_final_message" not in first
    assert second["continue_final_message"] and not second["add_generation_prompt"]


def test_after_it_is_closed_a_model_sends_no_events():
    events: queue.Queue[Event] = queue.Queue()
    with ScriptedServer(hang(to_part("Part"))) as server:
        model = open_model(Config(endpoint=server.url), events.put)
        model.generate([ChatTurn("user", "Hello")], 512, 0.0, 0.95)
        assert isinstance(events.get(timeout=TIMEOUT_S), Piece)
        model.close()
        assert server.hung_up.wait(TIMEOUT_S)
    assert events.empty()


def test_an_unreachable_server_gives_a_notice_when_the_chat_opens(tmp_path):
    config = Config(endpoint="http://127.0.0.1:1")
    events: queue.Queue[Event] = queue.Queue()
    notices: list[Notice] = []
    session = Session(
        open_model(config, events.put), History(tmp_path / "store"), config, notices.append
    )
    session.load()
    while not notices:
        session.handle_event(events.get(timeout=TIMEOUT_S))
    assert notices[0].text == "127.0.0.1:1: no server is running there" and notices[0].hint
    assert session.status.state == "off"
    session.close()


def test_a_bad_address_is_an_error_before_the_chat_opens():
    with pytest.raises(UsageError, match="not the address"):
        open_model(Config(endpoint="ftp://here"), lambda _: None)


@pytest.mark.slow
def test_recordings_are_transcribed_on_this_machine(connect, smol):
    chat = connect(reply("Hi."))
    transcripts: list[str | None] = []
    chat.session.transcribe(np.zeros(16_000, np.float32), transcripts.append)
    chat.handle_until(lambda: bool(transcripts))
    assert transcripts == [""]
    assert chat.ask("Hello") == "Hi."


def test_split_characters_and_surrogate_pairs_are_joined(connect):
    text = b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n'
    rest = 'data: {"choices":[{"delta":{"content":"\\ude00 grün"},"finish_reason":"stop"}]}\n\n'
    encoded = rest.encode()
    cut = encoded.index(b"\xbc")
    chat = connect(send(text, encoded[:cut], encoded[cut:], b"data: [DONE]\n\n"))
    assert chat.ask("Hello") == "\N{GRINNING FACE} grün"
    assert not any(
        "\ud83d" in event.text for event in chat.events.queue if isinstance(event, Piece)
    )


def test_calls_of_tools_are_kept_with_the_conversation_and_not_sent_back(connect):
    call = {"index": 0, "id": "a", "function": {"name": "look_up", "arguments": "{}"}}
    part = to_event({"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": None}]})
    chat = connect(send(part, to_part("Yes.", "stop")), reply("No."))
    assert chat.ask("Is it?") == "Yes."
    chat.ask("Is it not?")
    assert "look_up" not in chat.server.completions[1].body.decode()
    stored, _ = chat.session.store.find(chat.session.conversation.id).result()
    assert [message.tools for message in stored.thread] == ["", "look_up {}", "", ""]
    assert '"tools": "look_up {}"' in to_json(stored)
