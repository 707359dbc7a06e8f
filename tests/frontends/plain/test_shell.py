"""Commands of the shell that manage what a chat stored."""

import sys
from pathlib import Path


def test_stored_conversations_are_searched_deleted_and_restored(talk, mmtui, home):
    talk("Tell me about volcanoes")
    (found,) = mmtui("history", "search", "volcan", "--json", env=home).json
    assert mmtui("history", "delete", found["id"][:8], env=home).code == 0
    assert mmtui("history", "list", "--json", env=home).json == []
    assert mmtui("history", "restore", found["id"][:8], env=home).code == 0
    assert len(mmtui("history", "list", "--json", env=home).json) == 1
    run = mmtui("history", "show", "zzz", env=home)
    assert (run.code, "no conversation begins" in run.err) == (4, True)


def test_the_shell_completes_commands(mmtui):
    asked = {"_MMTUI_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "mmtui history ex"}
    assert '"export"' in mmtui(env=asked).out


def test_settings_are_shown_and_checked(mmtui, home, tmp_path):
    shown = mmtui("config", "show", "--json", env=home | {"MMTUI_THEME": "light"}).json
    assert (shown["theme"], shown["max_tokens"]) == ("light", 8)
    file = Path(mmtui("config", "path", env=home).out.strip())
    assert file.read_text().startswith("model = ")
    editor = {"EDITOR": f"{sys.executable} -c \"open(__import__('sys').argv[1],'a').write('x=1')\""}
    run = mmtui("config", "edit", env=home | editor | {"VISUAL": ""})
    assert (run.code, "there is no setting 'x'" in run.err) == (2, True)
    run = mmtui("--plain", env=home)
    assert run.code == 2 and "there is no setting 'x'" in run.err
    run = mmtui("config", "edit", env=home | {"EDITOR": "", "VISUAL": ""})
    assert (run.code, str(file) in run.err) == (2, True)
