"""Branches of a conversation: nothing said is ever overwritten."""

from mmtui.chat.conversation import Attachment, Conversation, make_title

CAT = Attachment("a" * 64, "image", "cat.jpg", 10, "640 x 480")


def talk() -> Conversation:
    conversation = Conversation()
    conversation.say("What is this?", (CAT,))
    conversation.answer().text = "A cat."
    conversation.say("Which colour?")
    conversation.answer().text = "Orange."
    return conversation


def texts(conversation: Conversation) -> list[str]:
    return [message.text for message in conversation.thread]


def test_a_thread_is_what_was_said_in_turn():
    assert texts(talk()) == ["What is this?", "A cat.", "Which colour?", "Orange."]
    assert [message.role for message in talk().thread] == ["user", "assistant"] * 2


def test_editing_branches_with_the_attachments_and_keeps_the_old_branch():
    conversation = talk()
    first, *_, last = conversation.thread
    edited = conversation.edit(first.id, "Describe it.")
    assert (edited.attachments, texts(conversation)) == ((CAT,), ["Describe it."])
    conversation.answer().text = "An orange cat."
    assert [m.text for m in conversation.siblings(edited.id)] == ["What is this?", "Describe it."]
    conversation.show_branch(first.id)
    assert conversation.head == last.id and texts(conversation)[-1] == "Orange."


def test_regenerating_puts_an_answer_beside_the_old_one():
    conversation = talk()
    old = conversation.thread[-1]
    new = conversation.regenerate(old.id)
    assert (new.parent, new.text, new.state) == (old.parent, "", "writing")
    assert conversation.siblings(new.id) == [old, new]
    assert len(conversation) == 5


def test_the_title_is_the_first_line_that_says_something():
    conversation = Conversation()
    assert conversation.say("\n  Is it raining?\nTell me.").text
    assert conversation.title == "Is it raining?"
    conversation.say("And now?")
    assert conversation.title == "Is it raining?"
    wordy = Conversation().say("word " * 40)
    assert len(make_title(wordy)) <= 60 and make_title(wordy).endswith("word…")
    assert make_title(Conversation().say("", (CAT,))) == "cat.jpg"
