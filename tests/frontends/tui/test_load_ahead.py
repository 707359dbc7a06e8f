"""What the chat screen has prepared while the user types."""

from user import open_chat, run_async


@run_async
async def test_a_picture_is_prepared_when_it_is_attached_and_not_after_it_was_removed(
    tmp_path, cat
):
    async with open_chat(tmp_path / "store") as user:
        await user.paste(str(cat))
        turns, pictures = user.model.prepared[-1]
        assert (turns, len(pictures)) == ((), 1)
        await user.press("shift+tab", "delete")
        assert user.model.prepared[-1] == ((), ())


@run_async
async def test_the_speech_model_is_loaded_when_a_recording_starts(tmp_path):
    async with open_chat(tmp_path) as user:
        await user.press("f4")
        assert user.model.speech_loads == 1
        await user.press("f4")
        assert user.model.speech_loads == 1


@run_async
async def test_the_history_of_a_resumed_conversation_is_prepared(tmp_path):
    async with open_chat(tmp_path) as user:
        await user.type("Hello", "enter")
        await user.answer("Hi.")
    async with open_chat(tmp_path, resume="latest") as user:
        turns, _ = user.model.prepared[-1]
        assert [turn.text for turn in turns] == ["Hello", "Hi."]
