"""Conversations, pictures and SQL statements for tests of the history."""

import sqlite3
from contextlib import closing

from mmtui.chat.conversation import Attachment, Conversation
from mmtui.chat.history.history import History


def save_conversation(history: History, *texts: str) -> Conversation:
    """Save messages of the user and the model in turn."""
    conversation = Conversation()
    for number, text in enumerate(texts):
        message = conversation.answer() if number % 2 else conversation.say(text)
        message.text, message.state = text, "complete"
        history.save(conversation, message)
    return conversation


def store_picture(history: History, data: bytes = b"pixels", transcript: str = "") -> Attachment:
    """Add the data of a picture to the store."""
    return Attachment(
        history.add_attachment(data), "image", "a cat.jpg", len(data), "9 x 9", transcript
    )


def execute(history: History, statement: str, *values: object) -> None:
    """Change the database as another program would."""
    with closing(sqlite3.connect(history.folder / "history.sqlite")) as database, database:
        database.execute(statement, values)
