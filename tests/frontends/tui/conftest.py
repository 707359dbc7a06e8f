"""Fixtures of the terminal interface."""

from pathlib import Path

import pytest


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The folder of an empty history."""
    return tmp_path / "store"
