"""The chat in the terminal, on Textual."""
