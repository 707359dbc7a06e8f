"""The chat line by line, for screen readers, simple terminals and pipes.

Replies go to stdout, everything else to stderr. Each line of stdin is a message, a command or a
path.
"""
