"""Text from documents: reading files, fitting their text to a context, framing it in a prompt."""
