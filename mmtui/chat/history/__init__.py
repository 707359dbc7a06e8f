"""Storage of conversations: database, search, and failover when a write fails."""

from mmtui.chat.history.conversation_index import Summary
from mmtui.chat.history.history import History

__all__ = ["History", "Summary"]
