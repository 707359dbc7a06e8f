"""Storage of conversations: database, search, and failover when a write fails."""

from mmtui.chat.history.history import History, Summary

__all__ = ["History", "Summary"]
