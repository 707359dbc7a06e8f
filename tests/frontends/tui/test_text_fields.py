"""Keys move over and delete whole characters."""

import unicodedata

import pytest
from textual.widgets import Input
from user import open_chat, run_async

from mmtui.frontends.tui.widgets import text_fields
from mmtui.frontends.tui.widgets.text_fields import find_end, find_start

FAMILY, FLAG, WAVE, KEYCAP = "👨‍👩‍👧", "🇩🇪", "👋🏽", "1\ufe0f\u20e3"
ACCENT, HANGUL, THAI = "e\N{COMBINING ACUTE ACCENT}", unicodedata.normalize("NFD", "각"), "กี่"
CHARACTERS = [FAMILY, FLAG, WAVE, KEYCAP, ACCENT, HANGUL, THAI, "猫", "x"]


@pytest.mark.parametrize("character", CHARACTERS, ids=ascii)
def test_a_character_consists_of_all_its_code_points(character):
    text = f"a{FLAG}{character}b"
    begin, end = 3, 3 + len(character)
    assert find_start(text, end) == begin and find_end(text, begin) == end
    for inside in range(begin + 1, end):
        assert (find_start(text, inside), find_end(text, inside)) == (begin, end)
    assert find_start(text, 0) == 0 and find_end(text, len(text)) == len(text)


@run_async
async def test_keys_in_the_prompt_act_on_characters(tmp_path):
    async with open_chat(tmp_path) as user:
        for character in CHARACTERS:
            both = f"a{character}{character}"
            for keys, text in (
                (["backspace"], f"a{character}"),
                (["left", "backspace"], f"a{character}"),
                (["left", "left", "delete"], f"a{character}"),
                (["home", "right", "right", "z"], f"a{character}z{character}"),
                (["shift+left", "z"], f"a{character}z"),
            ):
                user.composer.replace_all(both)
                await user.press(*keys)
                assert user.composer.text == text
        user.composer.replace_all(f"{FAMILY}\nxyz")
        await user.press("left", "left", "up", "backspace")
        assert user.composer.text in ("\nxyz", f"{FAMILY}\nxyz")


@run_async
async def test_keys_in_the_search_act_on_characters(tmp_path):
    async with open_chat(tmp_path) as user:
        await user.press("f3")
        words = user.app.screen.query_one(Input)
        for character in CHARACTERS:
            for keys, text in (
                (["backspace"], f"a{character}"),
                (["left", "left", "delete"], f"a{character}"),
                (["home", "right", "right", "z"], f"a{character}z{character}"),
                (["shift+left", "z"], f"a{character}z"),
            ):
                words.value = f"a{character}{character}"
                words.cursor_position = len(words.value)
                await user.press(*keys)
                assert words.value == text


@run_async
async def test_the_cursor_rests_until_the_next_change(tmp_path, monkeypatch):
    monkeypatch.setattr(text_fields, "BLINK_S", 0.01)
    async with open_chat(tmp_path) as user:
        while user.composer.cursor_blink:
            await user.settle()
        changes: list[bool] = []

        def record(is_on: bool) -> None:
            changes.append(is_on)

        user.app.watch(user.composer, "cursor_blink", record, init=False)
        await user.press("x")
        assert changes[:1] == [True]
