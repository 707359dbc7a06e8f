"""A session prepares the next question while no answer is being written."""

import numpy as np
import pytest

from mmtui.chat import attachments
from mmtui.chat.protocol import (
    ChatTurn,
    Completed,
    Died,
    Failed,
    Prepared,
    Progress,
    Ready,
    Transcribed,
)


@pytest.fixture
def loaded(chat):
    """Return a chat whose model is loaded."""
    chat.session.load()
    chat.session.handle_event(Ready(chat.model.number, "fake", 2048, 29, None))
    chat.model.prepared.clear()
    return chat


def test_the_system_prompt_is_prepared_when_the_model_is_loaded(chat):
    chat.session.set_system_prompt("Be brief.")
    assert chat.model.prepared == []  # the model is not loaded without a request
    chat.session.load()
    assert chat.model.prepared == [((ChatTurn("system", "Be brief."),), ())]


def test_a_picture_is_prepared_when_it_is_attached_and_forgotten_when_it_is_removed(loaded, cat):
    session, model = loaded.session, loaded.model
    picture = session.store_attachment(attachments.load(cat))
    path = str(session.file(picture))
    session.prepare_attachments((picture,))
    session.prepare_attachments((picture,))  # unchanged
    session.prepare_attachments(())
    assert model.prepared == [((), (path,)), ((), ())]
    session.prepare_attachments((picture,))
    session.send("What is this?", (picture,))
    model.answer(session, "A cat.")
    turns = (ChatTurn("user", "What is this?", (path,)), ChatTurn("assistant", "A cat."))
    assert model.prepared[-1] == (turns, ())


def test_nothing_is_prepared_while_an_answer_is_written(loaded, cat):
    session, model = loaded.session, loaded.model
    picture = session.store_attachment(attachments.load(cat))
    session.send("Hello")
    session.prepare_attachments((picture,))
    session.set_system_prompt("Be brief.")
    assert model.prepared == []
    model.answer(session, "Hi.")
    (prepared,) = model.prepared
    assert [turn.text for turn in prepared[0]] == ["Be brief.", "Hello", "Hi."]
    assert prepared[1] == (str(session.file(picture)),)


def test_a_stopped_answer_is_prepared_as_part_of_the_history(loaded):
    session, model = loaded.session, loaded.model
    session.send("Count")
    model.answer(session, "One, two", stop_reason=None)
    session.stop()
    assert [turn.text for turn in model.prepared[-1][0]] == ["Count", "One, two"]
    session.stop()
    assert len(model.prepared) == 1


def test_the_conversation_on_the_screen_is_prepared(loaded, cat):
    session, model = loaded.session, loaded.model

    def prepared() -> list[str]:
        return [turn.text for turn in model.prepared[-1][0]]

    picture = session.store_attachment(attachments.load(cat))
    session.send("Joke")
    model.answer(session, "First.")
    session.regenerate()
    model.answer(session, "Second.")
    session.show_next_version()
    assert prepared() == ["Joke", "First."]
    first = session.conversation.id
    session.prepare_attachments((picture,))
    session.start_conversation()
    assert model.prepared[-1] == ((), ())
    session.resume(first)
    assert prepared() == ["Joke", "First."]


def test_a_recording_loads_the_speech_model_and_its_transcript_comes_first(loaded):
    session, model = loaded.session, loaded.model
    session.load_speech()
    assert model.speech_loads == 1
    transcripts: list[str | None] = []
    session.transcribe(np.zeros(800, np.float32), transcripts.append)
    session.set_system_prompt("Be brief.")
    assert model.prepared == []
    session.handle_event(Transcribed(model.number, "hello"))
    assert transcripts == ["hello"] and len(model.prepared) == 1


def test_the_status_shows_the_preparation_until_a_question_is_sent(loaded):
    session, model = loaded.session, loaded.model
    session.set_system_prompt("Be brief.")
    session.handle_event(Progress("loading the vision tower", 0, 1))
    assert (session.status.state, session.status.step) == ("idle", "loading the vision tower")
    session.send("Hello")
    session.handle_event(Progress("reading the conversation", 1, 4))  # was sent before
    session.handle_event(Prepared(-1))
    assert (session.status.state, session.status.step) == ("thinking", "")
    model.answer(session, "Hi.")
    assert loaded.texts == ["Hello", "Hi."]


def test_a_failed_preparation_is_shown_once_and_questions_are_answered(loaded):
    session, model = loaded.session, loaded.model
    for system in ("One.", "Two."):
        session.set_system_prompt(system)
        failed = Failed(-len(model.prepared), "the index can't be reached", "check the network")
        session.handle_event(failed)
    assert loaded.notices == ["the index can't be reached"]
    session.send("Hello")
    model.answer(session, "Hi.")
    assert loaded.texts == ["Hello", "Hi."]


def test_a_model_that_can_t_be_loaded_is_shown_once_when_a_question_waits_for_it(chat):
    session, model = chat.session, chat.model
    session.send("Hello")
    for number in (model.number - 1, model.number):
        session.handle_event(Failed(number, "no such model", None))
    assert chat.notices == ["no such model"] and not session.is_answering
    assert model.prepared == []


def test_a_process_that_dies_while_it_prepares_is_not_started_before_the_next_question(loaded):
    session, model = loaded.session, loaded.model
    session.handle_event(Died("killed", None))
    session.set_system_prompt("Be brief.")
    assert model.prepared == [] and loaded.notices == ["killed"]
    session.send("Hello")
    model.answer(session, "Hi.")
    assert len(model.prepared) == 1 and session.status.state == "idle"


def test_another_model_is_prepared_after_a_switch(loaded):
    session, model = loaded.session, loaded.model
    session.send("Hello")
    model.answer(session, "Hi.")
    session.handle_event(Progress("reading the conversation", 1, 4))
    session.switch_model("other")
    assert (session.status.state, session.status.step) == ("loading", "")
    assert [turn.text for turn in model.prepared[-1][0]] == ["Hello", "Hi."]
    assert len(model.prepared) == 2


def test_a_picture_that_is_gone_is_reported_when_the_question_is_asked(loaded, cat):
    session, model = loaded.session, loaded.model
    picture = session.store_attachment(attachments.load(cat))
    loaded.history  # noqa: B018 - waits until the picture is written
    session.file(picture).unlink()
    session.prepare_attachments((picture,))
    assert model.prepared == [((), ())] and loaded.notices == []
    session.send("What is this?", (picture,))
    assert "a cat.png is no longer" in loaded.notices[-1]
    session.handle_event(Completed(model.number, "stop", 10, 0, 1, 0.1, 50.0))


def test_what_crashed_the_model_ahead_is_not_prepared_again(loaded):
    session, model = loaded.session, loaded.model
    session.prepare()
    session.handle_event(Died("llama.cpp crashed", None, is_refused=True))
    model.prepared.clear()
    session.send("Hello")
    model.answer(session, "Hi.")
    assert model.prepared == []
    session.switch_model("other")
    assert model.prepared == [(model.asked[-1] + (ChatTurn("assistant", "Hi."),), ())]
