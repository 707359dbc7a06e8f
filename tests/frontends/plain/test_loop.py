"""`mmtui --plain` reads lines and answers them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from mmtui.chat.conversation import Attachment, Draft
from mmtui.chat.history.history import History


def test_each_line_is_answered_and_stored(talk, mmtui, home):
    run = talk("Hello", "", "And now?")
    assert run.code == 0 and len(run.out.splitlines()) >= 2, run.err
    (found,) = mmtui("history", "list", "--json", env=home).json
    assert (found["title"], found["messages"]) == ("Hello", 4)
    shown = mmtui("history", "show", found["id"][:6], env=home).out
    assert shown.count("**You**") == 2 and shown.count("**mmtui**") == 2


def test_invalid_bytes_are_replaced(mmtui, home):
    strict = home | {"PYTHONIOENCODING": "utf-8:strict"}
    run = mmtui("--plain", stdin=b"caf\xe9\nAnd now?\n", env=strict)
    assert run.code == 0 and len(run.out.splitlines()) >= 2, run.err


def test_a_conversation_is_resumed_in_another_process(talk, mmtui, home):
    talk("Hello")
    again = talk("More", arguments=("--resume",))
    assert "> Hello" in again.err
    (found,) = mmtui("history", "list", "--json", env=home).json
    assert found["messages"] == 4
    history = History(Path(home["XDG_DATA_HOME"]) / "mmtui")
    staged = Attachment(history.add_attachment(b"x"), "image", "draft.png", 1)
    history.save_draft(history.conversation(found["id"]), Draft("And wh", (staged,)))
    history.close()
    run = talk("Hm", arguments=("--resume", found["id"][:8]))
    assert run.code == 0 and "attached: draft.png" in run.err
    assert "not sent yet: And wh" in run.err
    assert "attached" not in talk("Hm", arguments=("--resume", found["id"][:8])).err.split(">")[0]
    run = talk("Hm", arguments=("--resume", "zzz"))
    assert (run.code, "no conversation begins" in run.err) == (4, True)


def test_ctrl_c_stops_the_answer_and_keeps_its_text(home, mmtui):
    process = subprocess.Popen(
        [Path(sys.executable).with_name("mmtui"), "--plain"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, **home, "MMTUI_MAX_TOKENS": "1000000"},
    )  # fmt: skip
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(b"Hello\n")
    process.stdin.flush()
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    for line in process.stderr:
        if b"stopped; /continue resumes the answer" in line:
            break
    process.stdin.write(b"/quit\n")
    process.stdin.close()
    process.stdout.read()
    assert process.wait(60) == 0
    (found,) = mmtui("history", "list", "--json", env=home).json
    assert "*(stopped here)*" in mmtui("history", "show", found["id"], env=home).out


def test_errors_are_printed_and_the_chat_continues(talk):
    run = talk(
        "/nothing", "/image", "/retry", "/continue", "/sampling temperature=hot", "/resume x",
        "/export x.txt", "/copy", "Hello", "/copy",
    )  # fmt: skip
    assert run.err.count("error: ") == 9 and run.err.count("hint: ") == 9
    assert "there is no answer yet" in run.err and "no clipboard is available" in run.err
    assert run.code == 0 and run.out.strip() and "\x1b" not in run.out


def test_control_characters_are_not_printed(talk, mmtui, home):
    run = talk("\x1b]52;c;aGk=\x07hello \x9b2J", "/history hello", arguments=())
    assert not {"\x1b", "\x07", "\x9b"} & set(run.out + run.err)
    for command in (["list"], ["search", "hello"]):
        shown = mmtui("history", *command, env=home).out
        assert "hello" in shown and not {"\x1b", "\x07"} & set(shown)


def test_files_that_a_message_mentions_are_attached(chat, cat):
    run = chat(f"what is in {cat}?\nhttps://example.org/cat.png\n")
    (question,) = run.model.asked[0]
    assert (question.text, len(question.pictures)) == (f"what is in {cat}?", 1)
    assert "attached: a cat.png, 40 x 30" in run.err
    assert len(run.model.asked) == 1 and "web addresses are not opened" in run.err


def test_lines_are_read_in_any_encoding(chat):
    run = chat("Où est-il?\nEt là?\n".encode("utf-16"))
    assert [turns[-1].text for turns in run.model.asked] == ["Où est-il?", "Et là?"]


def test_a_line_that_failed_is_printed_again(chat):
    run = chat("/quit now\n/Drop it\n/model no-such-model\n /quit now\n/Quit\nno more\n")
    for line in ("/quit now", "/Drop it", "/model no-such-model"):
        assert f"not processed: {line}\n" in run.err
    assert "there is no model no-such-model" in run.err and run.model.name == "fake"
    assert [turns[-1].text for turns in run.model.asked] == ["/quit now"]


def test_a_data_folder_that_can_t_be_written_is_reported_once(talk, home, tmp_path):
    (tmp_path / "data").write_text("a file")
    run = talk("Hello", "Again")
    assert run.code == 0 and len(run.out.splitlines()) >= 2
    assert run.err.count("for now, this chat is kept in") == 1
