"""Limits of what users can choose, for commands, settings and requests."""

MAX_TEMPERATURE = 10.0  # where all tokens are about equally probable
