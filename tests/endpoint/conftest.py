"""Fixtures for the client of servers."""

import pytest


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the endpoint, the key and the proxies of whoever runs the tests out of them."""
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    for name in ("MMTUI_ENDPOINT", "MMTUI_MODEL", "MMTUI_API_KEY", *proxies):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
