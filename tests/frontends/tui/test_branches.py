"""The tree of versions: jump to a branch, delete one."""

from user import open_chat, run_async

from mmtui.chat.history.history import History
from mmtui.frontends.tui.screens.branches import BranchesScreen


async def make_versions(user) -> None:
    """One question with two answers; the second is followed by another question."""
    await user.type("Capital?", "enter")
    await user.answer("Paris.")
    await user.press("f5")
    await user.answer("Rome.")
    await user.type("Sure?", "enter")
    await user.answer("Yes.")


@run_async
async def test_the_tree_shows_versions_and_jumps_to_one(store):
    async with open_chat(store) as user:
        await make_versions(user)
        await user.press("alt+g")
        assert isinstance(user.app.screen, BranchesScreen)
        lines = [line.strip(" │▁▔|") for line in user.screen.splitlines()]
        assert any("● you: Capital?" in line for line in lines)
        assert any("mmtui 1/2: Paris." in line for line in lines)
        assert any("▼ ● mmtui 2/2: Rome." in line for line in lines)
        assert user.screen.count("▼") == 1  # nothing follows the other version
        await user.press("home", "down", "enter")
        assert user.texts == ["Capital?", "Paris."] and user.messages[-1].has_focus
        await user.type("/tree", "enter")
        await user.press("escape")
        assert user.texts == ["Capital?", "Paris."]


@run_async
async def test_a_version_is_deleted_after_a_confirmation(store):
    async with open_chat(store) as user:
        await make_versions(user)
        await user.press("alt+g", "home", "down", "down", "delete")
        assert "Delete this message and 2 after it" in user.screen
        await user.press("enter")
        assert isinstance(user.app.screen, BranchesScreen) and "Rome." in user.screen
        await user.press("home", "down", "down", "delete", "down", "enter")
        assert "Rome." not in user.screen and "mmtui: Paris." in user.screen
        await user.press("escape")
        assert user.texts == ["Capital?", "Paris."]
    history = History(store)
    (stored,) = history.newest()
    assert [message.text for message in history.conversation(stored.id)] == ["Capital?", "Paris."]
    assert history.search("Rome") == []


@run_async
async def test_the_last_message_can_be_deleted_but_none_during_an_answer(store):
    async with open_chat(store) as user:
        await user.type("Hello", "enter")
        await user.press("alt+g", "home", "delete", "down", "enter")
        assert "an answer is being written" in user.notices[-1]
        await user.press("escape")
        await user.answer("Hi.")
        await user.press("alt+g", "home", "delete", "down", "enter", "escape")
        assert user.texts == [] and user.app.session.conversation.head is None
        await user.type("Again", "enter")
        await user.answer("Hi.")
        assert user.texts == ["Again", "Hi."]
