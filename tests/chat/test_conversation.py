"""Branches of a conversation: no message is ever overwritten."""

from mmtui.chat.conversation import Attachment, Conversation, make_title

CAT = Attachment("a" * 64, "image", "cat.jpg", 10, "640 x 480")


def make_conversation() -> Conversation:
    conversation = Conversation()
    conversation.say("What is this?", (CAT,))
    conversation.answer().text = "A cat."
    conversation.say("Which colour?")
    conversation.answer().text = "Orange."
    return conversation


def get_texts(conversation: Conversation) -> list[str]:
    return [message.text for message in conversation.thread]


def test_a_thread_has_the_messages_in_order():
    assert get_texts(make_conversation()) == ["What is this?", "A cat.", "Which colour?", "Orange."]
    assert [message.role for message in make_conversation().thread] == ["user", "assistant"] * 2


def test_editing_adds_a_branch_with_the_same_attachments():
    conversation = make_conversation()
    first, *_, last = conversation.thread
    edited = conversation.edit(first.id, "Describe it.")
    assert (edited.attachments, get_texts(conversation)) == ((CAT,), ["Describe it."])
    conversation.answer().text = "An orange cat."
    assert [m.text for m in conversation.siblings(edited.id)] == ["What is this?", "Describe it."]
    conversation.show_branch(first.id)
    assert conversation.head == last.id and get_texts(conversation)[-1] == "Orange."


def test_regenerating_adds_a_version_of_the_answer():
    conversation = make_conversation()
    old = conversation.thread[-1]
    new = conversation.regenerate(old.id)
    assert (new.parent, new.text, new.state) == (old.parent, "", "writing")
    assert conversation.siblings(new.id) == [old, new]
    assert len(conversation) == 5


def test_the_title_is_the_first_line_that_is_not_blank():
    conversation = Conversation()
    assert conversation.say("\n  Is it raining?\nTell me.").text
    assert conversation.title == "Is it raining?"
    conversation.say("And now?")
    assert conversation.title == "Is it raining?"
    long = Conversation().say("word " * 40)
    assert len(make_title(long)) <= 60 and make_title(long).endswith("word…")
    assert make_title(Conversation().say("", (CAT,))) == "cat.jpg"
