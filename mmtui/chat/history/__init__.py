"""Where conversations are kept: the history, its search, and what is done when it can't be
written.
"""

from mmtui.chat.history.history import History, Summary

__all__ = ["History", "Summary"]
