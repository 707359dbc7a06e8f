"""Fixtures for the history."""

from pathlib import Path

import pytest

from mmtui.chat.history.history import History


@pytest.fixture
def history(tmp_path: Path) -> History:
    """Return a new history."""
    return History(tmp_path / "store")
