"""The domain of a chat, without a user interface."""
