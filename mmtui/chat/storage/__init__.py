"""Where conversations are kept: the history, its search, and what is done when it can't be
written.
"""
