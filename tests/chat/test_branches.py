"""The branches of a conversation as a tree."""

from mmtui.chat.branches import list_tree
from mmtui.chat.conversation import Conversation
from mmtui.chat.export import to_json
from mmtui.chat.history.history import History


def make() -> Conversation:
    """A question with the answers A and B; after A a question with two versions."""
    conversation = Conversation()
    question = conversation.say("one")
    first = conversation.answer()
    first.text = "A"
    second = conversation.say("two")
    conversation.edit(second.id, "deux")
    conversation.regenerate(first.id).text = "B"
    assert conversation.thread[0] is question
    return conversation


def find(conversation: Conversation, text: str) -> str:
    return next(message.id for message in conversation if message.text == text)


def test_versions_are_indented_and_numbered():
    rows = list_tree(make())
    assert [(row.depth, row.label, row.is_shown) for row in rows] == [
        (0, "you: one", True),
        (0, "mmtui 1/2: A", False),
        (1, "you 1/2: two", False),
        (1, "you 2/2: deux", False),
        (0, "mmtui 2/2: B", True),
    ]


def test_a_long_conversation_is_a_plain_list():
    conversation = Conversation()
    for number in range(3000):
        conversation.say(f"message {number}\nmore " + "x" * 100)
    rows = list_tree(conversation)
    assert len(rows) == 3000 and {row.depth for row in rows} == {0}
    assert rows[7].label.startswith("you: message 7 more x") and rows[7].label.endswith("…")


def test_deleting_what_is_shown_shows_another_version_or_the_message_before():
    conversation = make()
    conversation.delete(find(conversation, "B"))
    assert [message.text for message in conversation.thread] == ["one", "A", "deux"]
    conversation.delete(find(conversation, "A"))
    assert [message.text for message in conversation] == ["one"]
    conversation.delete(find(conversation, "one"))
    assert conversation.head is None and len(conversation) == 0


def test_deleting_another_branch_keeps_what_is_shown():
    conversation = make()
    conversation.delete(find(conversation, "A"))
    assert [message.text for message in conversation.thread] == ["one", "B"]
    assert [message.text for message in conversation] == ["one", "B"]


def test_the_history_forgets_deleted_messages_and_their_files(tmp_path):
    history, conversation = History(tmp_path), make()
    for message in conversation:
        message.state = "complete"
        history.save(conversation, message)
    ids = conversation.delete(find(conversation, "A"))
    history.delete_messages(conversation, ids)
    stored = history.conversation(conversation.id)
    assert to_json(stored) == to_json(conversation) and "deux" not in to_json(stored)
    assert history.search("deux") == [] and history.search("one")
