"""The options that several commands share."""

import pytest
from command_line import assert_error

from mmtui.cli.options import load_model
from mmtui.pipeline.assets.fetch import ignore_progress


@pytest.mark.parametrize(
    ("variables", "note"),
    [
        ({}, "model: smol; phi2 and a projector for it are not here\n"),
        ({"MMTUI_MODEL": "smol"}, "model: smol\n"),
        ({"MMTUI_ENDPOINT": "http://127.0.0.1:1/v1"}, "model: smol\n"),
    ],
)
def test_the_note_about_the_model_says_why_only_if_nothing_else_decided(
    monkeypatch, tmp_path, capsys, variables, note
):
    for folder in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(folder, str(tmp_path))
    for name in ("MMTUI_MODEL", "MMTUI_ENDPOINT"):
        monkeypatch.setenv(name, variables.get(name, ""))
    load_model("auto", None, ignore_progress)
    assert capsys.readouterr().err == note


@pytest.mark.parametrize("option", ["--mmproj", "--engine"])
@pytest.mark.parametrize("command", [("ask", "Hi"), ("serve", "--port", "0"), ("--plain",)])
def test_options_that_a_server_would_ignore_are_refused(mmtui_here, command, option):
    value = {"--mmproj": "mmproj.gguf", "--engine": "torch"}[option]
    run = mmtui_here(*command, "--endpoint", "http://127.0.0.1:1/v1", option, value)
    assert_error(run, 2, f"{option} needs a model on this machine", "pass --endpoint ''")
