"""Search finds parts of words in any script, with and without accents."""

import sqlite3
from contextlib import closing

import pytest

from mmtui.chat.conversation import Attachment, Conversation
from mmtui.chat.history.history import History
from mmtui.chat.history.schema import MIGRATIONS
from mmtui.chat.history.search import MAX_TERMS, fold, make_snippet, split_terms

# ruff: noqa: RUF001 - letters that look like others are tested here.
TEXTS = [
    "我家的猫很可爱", "ฉันชอบแมวมาก", "東京タワーに行きました", "나는고양이를좋아한다",
    "C++ is old", "snowman", "STRASSE straße", "İstanbul ığdır", "un café noir",
    "un cafe\u0301 noir", "foo_bar.py", "user@example.org", "$100 50% off", "👍 thumbs",
    "don’t stop", "ＦＵＬＬ ﬁsh", "Łódź", "שָׁלוֹם",
]  # fmt: skip
FOUND = {
    "猫": [0], "可爱": [0], "แมว": [1], "タワー": [2], "行": [2], "고양이": [3], "C++": [4],
    "++": [4], "man": [5], "SNOW": [5], "strasse": [6], "straße": [6], "istanbul": [7],
    "igdir": [7], "cafe": [8, 9], "café": [8, 9], "cafe\u0301 NOIR": [8, 9], "bar": [10],
    "foo_bar": [10], "@": [11], "50%": [12], "👍": [13], "don't": [14], "full": [15],
    "fish": [15], "lodz": [16], "שלום": [17],
}  # fmt: skip
WITHOUT_RESULT = [
    "!!!", "*", "NEAR(a b)", "text:snow", "-snow", "^snow", "a OR b", "'; DROP TABLE words; --",
    "(", "\\", "snow\x00cat", "\ud800", "x" * 100_000, "ハス", " ".join(map(str, range(1000))),
]  # fmt: skip


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    history = History(tmp_path_factory.mktemp("store"))
    for text in TEXTS:
        save_messages(history, text)
    return history


def save_messages(history: History, *texts: str) -> Conversation:
    """Save messages of the user in one conversation."""
    conversation = Conversation()
    for text in texts:
        history.save(conversation, conversation.say(text))
    return conversation


def search_titles(history: History, query: str) -> list[str]:
    return [found.title for found in history.search(query)]


@pytest.mark.parametrize("query", FOUND)
def test_texts_are_found_by_any_part_of_a_word(history, query):
    assert sorted(search_titles(history, query)) == sorted(TEXTS[number] for number in FOUND[query])


@pytest.mark.parametrize("query", WITHOUT_RESULT)
def test_a_query_is_never_a_syntax_error(history, query):
    assert search_titles(history, query) == []


def test_all_words_of_a_query_must_be_in_one_message(tmp_path):
    history = History(tmp_path)
    save_messages(history, "Tell me about volcanoes", "They are hot.")
    assert search_titles(history, "volc hot") == []
    assert history.search("VOLC about")[0].snippet == "Tell me about volcanoes"
    assert search_titles(history, '"volcanoes" tell') == search_titles(history, "  ")


def test_titles_and_transcripts_are_found(tmp_path):
    history = History(tmp_path)
    renamed, spoken = save_messages(history, "one"), Conversation()
    history.rename(renamed.id, "Réparer le vélo")
    recording = Attachment(
        "a" * 64, "audio", "voice.wav", 9, "3.2 s", "Where is the railway station?"
    )
    history.save(spoken, spoken.say("", (recording,)))
    assert [found.id for found in history.search("VELO")] == [renamed.id]
    (found,) = history.search("rail")
    assert (found.id, found.snippet) == (spoken.id, "Where is the railway station?")
    history.delete(renamed.id)
    assert history.search("velo") == []


def test_a_changed_message_is_found_by_its_new_text_only(tmp_path):
    history = History(tmp_path)
    conversation = save_messages(history, "Hi")
    answer = conversation.answer()
    for text in ("", "He", "Hello."):
        answer.text = text
        history.save(conversation, answer)
    assert search_titles(history, "hello") == ["Hi"] and search_titles(history, "writing") == []


def test_the_messages_of_an_old_history_are_indexed(tmp_path):
    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as database, database:
        for statement in (*MIGRATIONS[0], *MIGRATIONS[1]):
            database.execute(statement)
        for id, updated in (("early", 9e9), ("late", 1.0)):
            database.execute(
                "INSERT INTO conversations (id, title, system, updated) VALUES (?, '', '', ?)",
                (id, updated),
            )
        rows = (("early", "我家的猫"), ("early", "Très bien"), ("late", "猫"))
        for number, (id, text) in enumerate(rows):
            database.execute(
                "INSERT INTO messages VALUES (?, ?, ?, NULL, 'user', ?, 'complete', 1.0)",
                (number, f"{number}", id, text),
            )
        database.execute(
            "INSERT INTO attachments VALUES (2, 0, 'a', 'audio', 'a.wav', 1, '', 'Hörst du?')"
        )
        database.execute("PRAGMA user_version = 2")
    history = History(tmp_path)
    assert [found.id for found in history.search("猫")] == ["late", "early"]
    assert [found.id for found in history.search("tres")] == ["early"]
    assert [found.id for found in history.search("horst")] == ["late"]
    assert history.latest() == "late"


def test_an_incomplete_index_is_rebuilt_with_a_notice(tmp_path):
    notices: list[str] = []
    history = History(tmp_path, notify=lambda text, _: notices.append(text))
    save_messages(history, "Hi", "volcanoes")
    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as database, database:
        database.execute("DELETE FROM words")
    assert search_titles(history, "cano") == ["Hi"]
    assert notices == ["the search index was damaged, and has been rebuilt"]
    assert search_titles(history, "nothing of it") == [] and len(notices) == 1


def test_a_snippet_shows_the_match_with_its_original_spelling():
    long = "é" * 200 + "\n Straße " + "x" * 200
    snippet = make_snippet(long, ["strasse"])
    assert "é Straße x" in snippet and snippet[0] == snippet[-1] == "…" and len(snippet) < 100
    assert make_snippet("nothing", ["else"]) == "nothing"


def test_the_number_of_search_terms_is_limited():
    assert len(split_terms(" ".join(map(str, range(1000))))) == MAX_TERMS
    assert split_terms("a A á") == ["a"]
    assert fold(None) == "" and fold(b"caf\xff") == "caf\N{REPLACEMENT CHARACTER}"
