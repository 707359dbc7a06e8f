"""The facade over small models and over the real one."""

import dataclasses

import pytest

from mmtui.errors import MissingError, UsageError
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.engines.llama_library import find_packages
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.reply import Reply


def ask(assistant: Assistant, *turns: Turn, **options) -> tuple[list[str], Reply]:
    *pieces, reply = assistant.reply(turns, **options)
    assert "".join(pieces) == reply.text
    return pieces, reply


def user(*content) -> Turn:
    return Turn("user", content)


def test_a_second_question_about_the_same_picture_sees_and_prefills_only_what_is_new(tiny, picture):
    steps: list[tuple[str, int, int]] = []
    assistant = Assistant(tiny, lambda *step: steps.append(step))
    _, first = ask(assistant, user(picture, "What is this?"), max_tokens=9)
    assert first.cached_tokens == 0
    assert first.prompt_tokens > 29
    history = [user(picture, "What is this?"), Turn("assistant", (first.text,))]
    _, second = ask(assistant, *history, user("And its colour?"), max_tokens=9)
    assert second.cached_tokens >= first.prompt_tokens
    assert [s for s in steps if s[0] == "seeing"] == [("seeing", 0, 1), ("seeing", 1, 1)]
    _, fresh = ask(Assistant(tiny), *history, user("And its colour?"), max_tokens=9)
    assert fresh.cached_tokens == 0 and fresh.text == second.text


def test_pictures_change_the_answer(tiny, picture):
    from PIL import Image

    from mmtui.pipeline.vision.images import Picture

    other = Picture("b" * 64, Image.effect_noise((99, 99), 100).convert("RGB"))
    answers = {
        ask(Assistant(tiny), user(p, "What?"), max_tokens=9)[1].text for p in (picture, other)
    }
    assert len(answers) == 2


def test_it_ends_at_the_limit_of_tokens_and_at_cancel(tiny):
    _, reply = ask(Assistant(tiny), user("Go on"), max_tokens=4)
    assert (reply.stop_reason, reply.completion_tokens) == ("length", 4)
    asked = iter([False, False, False, True])
    _, reply = ask(Assistant(tiny), user("Go on"), is_cancelled=lambda: next(asked))
    assert (reply.stop_reason, reply.completion_tokens) == ("cancelled", 3)
    _, reply = ask(Assistant(tiny), user("Go on"), is_cancelled=lambda: True)
    assert (reply.stop_reason, reply.first_token_s, reply.text) == ("cancelled", None, "")


def test_a_conversation_longer_than_the_context_says_by_how_much(tiny):
    assistant = Assistant(tiny)
    context = assistant.language.context_length
    _, short = ask(assistant, user("z"), max_tokens=1)  # each z is a token
    left = context - short.prompt_tokens
    with pytest.raises(UsageError, match=rf"{context + 5} tokens long, 6 too many for tiny"):
        ask(assistant, user("z" * (left + 6)))
    _, full = ask(assistant, user("z" * (left - 2)), max_tokens=99)
    assert full.prompt_tokens + full.completion_tokens <= context


@pytest.mark.parametrize("engine", ["torch", "llamacpp"])
def test_a_long_conversation_and_a_long_answer_go_on(tiny, picture, engine):
    if engine == "llamacpp" and not find_packages():
        pytest.skip("llama.cpp is not installed")
    assistant = Assistant(tiny, engine=engine)
    system, latest = Turn("system", ("Z" * 40,)), user(picture, "What is this?")
    round = [user("z" * 200), Turn("assistant", ("y" * 200,))]
    _, long = ask(assistant, system, *round * 9, latest, max_tokens=5)
    kept = (system, *round * (9 - long.dropped // 2), latest)
    assert long.dropped and long.dropped % 2 == 0 and long.completion_tokens == 5
    _, short = ask(Assistant(tiny, engine=engine), *kept, max_tokens=5)
    assert (short.text, short.prompt_tokens) == (long.text, long.prompt_tokens)

    begun = Turn("assistant", ("y" * 3000,))  # more than the context
    _, further = ask(assistant, latest, begun, max_tokens=5)
    assert (further.completion_tokens, further.dropped, further.full) == (5, 0, False)
    assert further.prompt_tokens > 700
    _, end = ask(assistant, latest, Turn("assistant", ("y" * 1500,)), max_tokens=5)
    assert end.text == further.text


def test_a_model_that_can_t_see_says_what_to_train_before_it_loads(smol, picture):
    blind = Assistant(dataclasses.replace(smol, projector=None))
    with pytest.raises(MissingError, match="smol can't see yet") as told:
        ask(blind, user(picture, "What is this?"))
    assert "mmtrain align --model smol" in told.value.hint
    assert "_engine" not in vars(blind)
    eyeless = dataclasses.replace(smol.spec, vision=None)
    with pytest.raises(MissingError, match="no vision tower"):
        ask(Assistant(checkpoint.Checkpoint(eyeless)), user(picture, "?"))


@pytest.fixture(scope="module")
def real(smol) -> Assistant:
    return Assistant(smol)


def test_smol_knows_paris_and_stops_by_itself(real):
    pieces, reply = ask(real, user("What is the capital of France?"))
    assert "Paris" in reply.text
    assert reply.stop_reason == "stop"
    assert len(pieces) > 3
    assert "<|" not in reply.text


def test_smol_follows_a_system_prompt(real):
    asked = user("Greet me.")
    _, plain = ask(real, asked, max_tokens=20)
    _, pirate = ask(real, Turn("system", ("You are a pirate.",)), asked, max_tokens=20)
    assert plain.text != pirate.text
