"""A session without a user interface: requests, stored messages and notices."""

import numpy as np
import pytest
from PIL import Image

from mmtui.chat import attachments
from mmtui.chat.conversation import Draft
from mmtui.chat.history.history import History
from mmtui.chat.protocol import ChatTurn, Completed, Died, Failed, Piece, Progress, Ready
from mmtui.errors import InputError, MmtuiError, UsageError
from mmtui.pipeline import input_files


def test_messages_are_stored_and_sent_in_order(chat):
    session, model = chat.session, chat.model
    session.send("Hello")
    assert session.status.state == "thinking" and session.is_answering
    model.answer(session, "Hi ", "there.")
    assert not session.is_answering and session.status.state == "idle"
    assert (session.status.used, session.status.tokens_per_s) == (12, 50.0)
    session.send("And now?")
    assert model.asked[-1] == (
        ChatTurn("user", "Hello"), ChatTurn("assistant", "Hi there."), ChatTurn("user", "And now?"),
    )  # fmt: skip
    model.answer(session, "Now.")
    stored = chat.history.conversation(session.conversation.id)
    assert [m.text for m in stored.thread] == ["Hello", "Hi there.", "And now?", "Now."]
    assert {m.state for m in stored} == {"complete"}


def test_pictures_are_sent_with_their_message_in_every_turn(chat, cat):
    session, model = chat.session, chat.model
    attachment = session.store_attachment(attachments.load(cat))
    assert (attachment.kind, attachment.name, attachment.detail) == (
        "image",
        "a cat.png",
        "40 x 30",
    )
    cat.unlink()
    session.send("What is this?", (attachment,))
    model.answer(session, "A cat.")
    session.send("Which colour?")
    pictures = model.asked[-1][0].pictures
    assert pictures == (str(session.file(attachment)),) and model.asked[-1][2].pictures == ()


def test_notes_about_a_file_are_shown_when_it_is_attached(chat, cat, tmp_path):
    cut = tmp_path / "cut.png"
    Image.effect_noise((64, 64), 90).save(cut)
    cut.write_bytes(cut.read_bytes()[:-300])
    long = tmp_path / "long.wav"
    long.write_bytes(input_files.encode_wav(np.zeros(40 * 16_000, np.float32)))
    for file in (cat, cut, long):
        chat.session.store_attachment(attachments.load(file))
    first, second = chat.posted
    assert "cut.png: the picture is cut off" in first.text and not first.is_error
    assert second.text.endswith("long.wav: only the first 15 s of 40 s are transcribed")


def test_other_files_are_errors_that_name_the_file(chat, tmp_path):
    odd = tmp_path / "odd.jpg"
    odd.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"odd.jpg is neither"):
        chat.session.store_attachment(attachments.load(odd))


def test_a_recording_is_stored_with_its_transcript(chat):
    session, model = chat.session, chat.model
    transcripts: list[str] = []
    clip = np.zeros(16_000, np.float32)
    session.transcribe(clip, transcripts.append)
    assert session.status.state == "transcribing"
    model.transcribe_as(session, "hello there")
    assert transcripts == ["hello there"] and session.status.state == "off"
    recording = session.store_clip(clip, "hello there")
    session.send("hello there!", (recording,))
    assert chat.history.search("hello there")[0].id == session.conversation.id
    assert (recording.detail, model.asked[-1][0].pictures) == ("1.0 s", ())


def test_stopping_keeps_the_text_and_ignores_later_pieces(chat):
    session, model = chat.session, chat.model
    session.send("Count")
    model.answer(session, "One, ", "two", stop_reason=None)
    session.stop()
    assert model.cancelled == [model.number]
    model.answer(session, ", three")
    assert chat.texts[-1] == "One, two"
    assert chat.history.conversation(session.conversation.id).thread[-1].state == "stopped"


def test_a_stopped_answer_is_continued(chat):
    session, model = chat.session, chat.model
    session.send("Count")
    model.answer(session, "One, ", stop_reason=None)
    session.stop()
    session.continue_()
    assert model.asked[-1] == (ChatTurn("user", "Count"), ChatTurn("assistant", "One, "))
    model.answer(session, "two.")
    assert chat.texts == ["Count", "One, two."]
    with pytest.raises(UsageError, match="complete"):
        session.continue_()


def test_an_answer_that_reached_its_limit_counts_as_stopped(chat):
    chat.session.send("Count")
    chat.model.answer(chat.session, "One", stop_reason="length")
    assert chat.session.conversation.thread[-1].state == "stopped"


def test_regenerating_keeps_both_answers(chat):
    session, model = chat.session, chat.model
    session.send("Joke")
    model.answer(session, "First.")
    session.regenerate()
    assert model.asked[-1] == (ChatTurn("user", "Joke"),)
    model.answer(session, "Second.")
    assert chat.texts == ["Joke", "Second."] and len(session.conversation) == 3


def test_editing_adds_a_branch_with_the_attachments(chat, cat):
    session, model = chat.session, chat.model
    session.send("What?", (session.store_attachment(attachments.load(cat)),))
    model.answer(session, "A cat.")
    session.edit(session.conversation.thread[0].id, "Which animal?")
    assert (model.asked[-1][0].text, len(model.asked[-1][0].pictures)) == ("Which animal?", 1)
    model.answer(session, "A cat!")
    assert chat.texts == ["Which animal?", "A cat!"]


def test_requests_are_refused_while_an_answer_is_written(chat):
    session = chat.session
    session.send("One")
    for request in (lambda: session.send("Two"), session.regenerate, session.continue_):
        with pytest.raises(UsageError, match="being written"):
            request()
    assert len(chat.model.asked) == 1


def test_a_failure_ends_the_answer_and_is_shown_with_its_hint(chat):
    session, model = chat.session, chat.model
    session.send("Hello")
    model.answer(session, "Hel", stop_reason=None)
    session.handle_event(Failed(model.number, "out of memory", "close other programs"))
    assert [(n.text, n.hint) for n in chat.posted] == [("out of memory", "close other programs")]
    assert chat.session.conversation.thread[-1].state == "failed" and not session.is_answering
    session.send("Again")
    session.handle_event(Died("the model was killed", "sending again starts it anew"))
    assert chat.notices[-1] == "the model was killed"
    session.regenerate()
    model.answer(session, "Here.")
    assert chat.texts[-1] == "Here."


def test_the_status_shows_what_the_model_does(chat):
    session = chat.session
    session.load()
    assert session.status.state == "loading"
    session.handle_event(Progress("fetching", 30, 120))
    assert session.status.step == "fetching 25 %"
    session.handle_event(Progress("fetching", 120, 120))
    session.handle_event(Ready(1, "smol", 8192, 29, None))
    status = session.status
    assert (status.state, status.model, status.step) == ("idle", "smol", "")
    assert status.context == 8192
    session.switch_model("phi2")
    assert (session.status.model, chat.model.name) == ("phi2", "phi2")


def test_a_conversation_is_resumed_with_its_draft(chat):
    session, model = chat.session, chat.model
    session.send("Hello")
    model.answer(session, "Hi.")
    session.save_draft(Draft("And wh"))
    first = session.conversation.id
    session.start_conversation()
    assert chat.texts == []
    assert session.resume() == Draft("And wh")
    assert session.status.used is None  # until the next answer
    assert session.conversation.id == first and chat.texts == ["Hello", "Hi."]
    with pytest.raises(InputError):
        session.resume("none")


def test_the_current_conversation_is_resumed_with_its_partial_answer(chat):
    session, model = chat.session, chat.model
    session.send("Count")
    for piece in ("One, ", "two, ", "three"):  # the last two are not in the store yet
        session.handle_event(Piece(model.number, piece))
    session.resume(session.conversation.id)
    assert chat.texts == ["Count", "One, two, three"] and not session.is_answering


def test_the_next_chat_adopts_an_unsent_draft(chat, cat):
    session = chat.session
    draft = Draft("Dear", (session.store_attachment(attachments.load(cat)),))
    session.save_draft(draft)
    previous = session.conversation.id
    session.start_conversation()
    assert session.store.adopt_draft(session.conversation).result() == draft
    assert chat.history.draft(session.conversation.id) == draft != chat.history.draft(previous)
    assert session.store.adopt_draft(session.conversation).result() == draft
    chat.history.purge()
    assert session.file(draft.attachments[0]).exists()
    session.send("Dear diary")
    chat.model.answer(session, "Yes?")
    session.save_draft(Draft("And"))
    session.start_conversation()
    # That draft belongs to a conversation with messages, which can be resumed.
    assert session.store.adopt_draft(session.conversation).result() == Draft()


def test_an_answer_is_saved_while_it_is_written(chat, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr("mmtui.chat.session.time.monotonic", lambda: float(next(clock)))
    chat.session.send("Hello")
    number = chat.model.number
    chat.session.handle_event(Piece(number, "One "))
    chat.session.handle_event(Piece(number, "two"))
    stored = History(chat.history.folder).conversation(chat.session.conversation.id)
    assert stored.thread[-1].text == "One two"


def test_a_system_prompt_is_the_first_turn_and_belongs_to_its_conversation(chat):
    session, model = chat.session, chat.model
    session.send("Hi")
    model.answer(session, "Hello.")
    session.set_system_prompt("Be brief.")
    session.send("And?")
    assert model.asked[-1][0] == ChatTurn("system", "Be brief.")
    model.answer(session, "No.")
    assert chat.history.conversation(session.conversation.id).system == "Be brief."
    session.start_conversation()
    assert session.conversation.system == ""


def test_versions_are_shown_in_turn(chat):
    session, model = chat.session, chat.model
    session.send("Joke")
    model.answer(session, "First.")
    with pytest.raises(UsageError, match="another version"):
        session.show_next_version()
    session.regenerate()
    model.answer(session, "Second.")
    session.edit(session.conversation.thread[0].id, "Jokes")
    model.answer(session, "Third.")
    session.show_next_version()
    assert chat.texts == ["Joke", "Second."]
    session.show_next_version()
    assert chat.texts == ["Joke", "First."]
    session.show_next_version(session.conversation.thread[0])
    assert chat.texts == ["Jokes", "Third."]
    assert chat.history.conversation(session.conversation.id).thread[0].text == "Jokes"


def test_a_transcript_is_updated(chat):
    session, model = chat.session, chat.model
    with pytest.raises(UsageError, match="no recording"):
        session.conversation.last_recording()
    recording = session.store_clip(np.zeros(800, np.float32), "a bat")
    session.send("a cat", (recording,))
    model.answer(session, "Yes.")
    message, file = session.conversation.last_recording()
    session.update_transcript(message, file, "a cat")
    (recording,) = chat.history.conversation(session.conversation.id).thread[0].attachments
    assert recording.transcript == "a cat" and chat.history.search("bat") == []


def test_a_failed_transcription_calls_back_with_none(chat):
    session, model, transcripts = chat.session, chat.model, []
    for event in (Failed(2, "no speech model", None), Died("killed", None)):
        model.number = 1
        session.transcribe(np.zeros(800, np.float32), transcripts.append)
        session.handle_event(event)
    assert transcripts == [None, None] and session.status.state == "off"


def test_a_model_that_died_is_loaded_with_the_next_message(chat):
    session, model = chat.session, chat.model
    session.load()
    session.handle_event(Ready(model.number, "smol", 8192, 29, None))
    assert session.status.state == "idle"
    session.handle_event(Died("killed", None))
    assert session.status.state == "off"
    number = model.number
    session.send("Hello")
    assert model.number == number + 2 and session.status.state == "thinking"
    session.stop()
    assert session.status.state == "loading"
    session.handle_event(Failed(model.number - 1, "no such model", None))
    assert session.status.state == "off"
    session.handle_event(Ready(number, "old", 1, 1, None))  # an event of an earlier request
    assert session.status.model == "smol"


def test_a_message_whose_attachment_crashed_the_model_returns_as_a_draft(chat, cat):
    session = chat.session
    session.send("Hello")
    chat.model.answer(session, "Hi.")
    picture = session.store_attachment(attachments.load(cat))
    session.send("What is this?", (picture,))
    draft = session.handle_event(Died("crashed", "send without it", is_refused=True))
    assert draft is not None and (draft.text, draft.attachments) == ("What is this?", (picture,))
    assert [message.text for message in session.conversation.thread] == ["Hello", "Hi."]
    assert chat.notices[-1].startswith("crashed") and not session.is_answering
    assert session.handle_event(Died("crashed", None, is_refused=True)) is None  # no reply


def test_an_answer_that_repeats_itself_is_stopped_with_a_notice(chat):
    chat.session.send("Go on")
    event = Completed(chat.model.number, "length", 10, 0, 99, 0.1, 50.0, repeats=True)
    chat.session.handle_event(event)
    assert chat.notices == ["stopped: the answer was repeating itself"]
    assert chat.session.conversation.thread[-1].state == "stopped"


def test_a_notice_is_shown_each_time_that_the_context_loses_more_turns(chat):
    for dropped, full in ((0, False), (2, False), (2, False), (4, False), (6, True)):
        chat.session.send("And?")
        number = chat.model.number
        event = Completed(number, "stop", 10, 0, 1, 0.1, 50.0, dropped=dropped, full=full)
        chat.session.handle_event(event)
    assert [notice.split(":")[-1].strip() for notice in chat.notices] == [
        "the oldest 2 turns are left out",
        "the oldest 4 turns are left out",
        "the answer reached the end of the model's context",
        "the oldest 6 turns are left out",
    ]
    assert chat.session.status.dropped == 6


def test_a_picture_that_is_gone_is_reported_and_left_out(chat, cat):
    session, model = chat.session, chat.model
    attachment = session.store_attachment(attachments.load(cat))
    session.send("What is this?", (attachment,))
    model.answer(session, "A cat.")
    session.file(attachment).unlink()
    session.send("Which colour?")
    assert model.asked[-1][0] == ChatTurn("user", "What is this?")
    assert "a cat.png is no longer" in chat.notices[-1]


def test_a_picture_is_sent_although_the_history_can_t_be_written(chat, cat, monkeypatch):
    session, model = chat.session, chat.model
    attachment = session.store_attachment(attachments.load(cat))

    def full(*_: object) -> None:
        raise MmtuiError("the disk is full", "free some space")

    monkeypatch.setattr(chat.history, "save", full)
    session.send("Look", (attachment,))
    assert len(model.asked[-1][0].pictures) == 1
    session.close()


def test_switching_the_model_ends_a_transcription(chat):
    transcripts: list[str | None] = []
    chat.session.transcribe(np.zeros(16_000, np.float32), transcripts.append)
    assert chat.session.is_transcribing
    chat.session.switch_model("other")
    assert transcripts == [None] and not chat.session.is_transcribing
