"""What a plain chat prints of the events of the model."""

import queue

from fake_audio import FakeSpeaker, FakeSynthesizer
from fakes import FakeModel

from mmtui.chat.config import Config
from mmtui.chat.history.history import History
from mmtui.chat.protocol import Completed, Event, Piece, Progress
from mmtui.chat.session import Session
from mmtui.frontends.plain.chat import PlainChat
from mmtui.frontends.plain.console import print_notice


def test_only_the_step_in_progress_is_printed_of_what_was_loaded_ahead(tmp_path, capsys):
    events: queue.Queue[Event] = queue.Queue()
    session = Session(FakeModel(), History(tmp_path), Config(), print_notice)
    chat = PlainChat(session, events, FakeSpeaker(), FakeSynthesizer())
    session.load()
    for done in (0, 1):
        events.put(Progress("loading the language model", done, 1))
    events.put(Progress("loading the vision tower", 0, 1))
    chat.handle_pending_events()
    assert capsys.readouterr().err == "loading the vision tower ...\n"
    events.put(Progress("loading the vision tower", 1, 1))
    chat.handle_pending_events()
    assert capsys.readouterr().err == ""
    session.close()


def test_a_continued_answer_prints_only_its_new_tool_calls(tmp_path, capsys):
    events: queue.Queue[Event] = queue.Queue()
    model = FakeModel()
    session = Session(model, History(tmp_path), Config(), print_notice)
    chat = PlainChat(session, events, FakeSpeaker(), FakeSynthesizer())
    session.send("Weather?")
    events.put(Piece(model.number, "get_weather {}\n", is_tool=True))
    events.put(Piece(model.number, "It is "))
    events.put(Completed(model.number, "length", 9, 0, 2, 0.1, 5.0))
    chat.print_reply()
    assert "tool: get_weather {}\n" in capsys.readouterr().err
    session.continue_()
    events.put(Piece(model.number, "sunny."))
    events.put(Completed(model.number, "stop", 9, 0, 1, 0.1, 5.0))
    chat.print_reply()
    printed = capsys.readouterr()
    assert "tool:" not in printed.err and printed.out == "sunny.\n"
    session.close()
