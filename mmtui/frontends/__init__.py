"""The user interfaces of the chat: on a screen, line by line, in a browser."""
