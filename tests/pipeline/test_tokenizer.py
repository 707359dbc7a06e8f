"""Tokenizers, compared with those of transformers for the same files."""

import codecs
import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from mmtui.errors import InputError
from mmtui.pipeline.assets import fetch
from mmtui.pipeline.engines.loading import fetch_for_torch
from mmtui.pipeline.gguf import conversion
from mmtui.pipeline.prompt import ChatFormat, Turn
from mmtui.pipeline.tokenizer import Tokenizer, find_end_tokens

TEXTS = (
    "",
    "Hello  there",
    "12345 or\n\n 9!",
    "naïve 日本 😀 ▁ \t x",
    "<|im_start|>user\nHi<|im_end|>",
)
TURNS = [
    Turn("system", ("Be brief.",)),
    Turn("user", ("Hello <|im_end|> there",)),
    Turn("assistant", ("Hi!",)),
    Turn("user", ("What is 2 + 2?",)),
]
TEMPLATE = """\
{%- if messages[0].role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}
{% for message in messages %}
    {%- if loop.index > 99 %}{% break %}{% endif %}
[{{ message.role }}] {{ message.content | tojson }}{{ eos_token }}
    {% generation %}{{ bos_token }}{% endgeneration %}
{% endfor %}
{{ strftime_now('%Y') }} {% if add_generation_prompt %}[assistant]{% endif %}"""


@pytest.fixture(params=["tiny_llama", "tiny_phi", "smol"])
def folder(request: pytest.FixtureRequest) -> Path:
    fixture = request.getfixturevalue(request.param)
    return fixture if isinstance(fixture, Path) else fetch_for_torch(fixture.spec.language.weights)


def test_tokens_and_templates_equal_those_of_transformers(folder):
    ours, theirs = Tokenizer(folder), AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        for special in (True, False):
            expected = theirs(text, add_special_tokens=special).input_ids
            assert ours(text, add_special_tokens=special).input_ids == expected
        assert ours.decode(expected) == theirs.decode(expected)
    for name in ("bos_token", "eos_token", "bos_token_id", "eos_token_id", "chat_template"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert set(ours.all_special_ids) == set(theirs.all_special_ids)
    one, other = ChatFormat(ours), ChatFormat(theirs)
    for turns in (TURNS, TURNS[1:], TURNS[:3]):
        assert one.encode(turns) == other.encode(turns)
    assert (one.stop_ids, one.stop_strings) == (other.stop_ids, other.stop_strings)


def test_templates_can_use_the_functions_of_transformers(tiny_llama):
    ours, theirs = Tokenizer(tiny_llama), AutoTokenizer.from_pretrained(tiny_llama)
    messages = [{"role": "user", "content": '<b>ä & "x"</b>'}, {"role": "assistant", "content": ""}]
    options = {"chat_template": TEMPLATE, "tokenize": False, "add_generation_prompt": True}
    rendered = ours.apply_chat_template(messages, **options)
    assert rendered == theirs.apply_chat_template(messages, **options)
    assert "[assistant]" in rendered
    for tokenizer in (ours, theirs):
        with pytest.raises(Exception, match="no tools"):
            tokenizer.apply_chat_template([{"role": "tool", "content": ""}], **options)
    dangerous = {**options, "chat_template": "{{ messages.__class__.__mro__ }}"}
    with pytest.raises(Exception, match="unsafe"):
        ours.apply_chat_template(messages, **dangerous)


def test_the_tokenizer_of_smol_equals_that_of_the_full_conversion(smol):
    converted = Tokenizer(fetch_for_torch(smol.spec.language.weights))
    source = fetch.locate(smol.spec.language.weights)
    alone = Tokenizer(conversion.to_gguf(source, None, "auto", fetch.ignore_progress).folder)
    for text in TEXTS:
        assert alone(text).input_ids == converted(text).input_ids
    assert ChatFormat(alone).encode(TURNS) == ChatFormat(converted).encode(TURNS)


def test_several_templates_and_end_tokens_are_read(tiny_llama, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_llama, folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((folder / "tokenizer_config.json").read_bytes())
    named = {"default": "A", "b": "B"}
    settings["chat_template"] = [{"name": n, "template": text} for n, text in named.items()]
    settings["eos_token"] = {"content": "<|endoftext|>", "__type": "AddedToken"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = Tokenizer(folder)
    assert tokenizer.chat_template == named
    assert tokenizer.eos_token_id == 0
    (folder / "generation_config.json").write_text('{"eos_token_id": [5, 6]}')
    assert find_end_tokens(folder, 1, [2], None) == {1, 2, 5, 6}


@pytest.mark.parametrize(
    ("name", "content"),
    [("tokenizer.json", "{"), ("tokenizer_config.json", "[]"), ("tokenizer.json", None)],
)
def test_damaged_files_are_refused(tiny_llama, tmp_path, name, content):
    folder = tmp_path / "model"
    shutil.copytree(tiny_llama, folder)
    (folder / name).unlink() if content is None else (folder / name).write_text(content)
    with pytest.raises(InputError, match="can't be read"):
        Tokenizer(folder)


def test_files_with_a_byte_order_mark_are_read(tiny_llama, tmp_path):
    folder = shutil.copytree(tiny_llama, tmp_path / "marked")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        path = folder / name
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    text = "Hello world"
    assert Tokenizer(folder)(text).input_ids == Tokenizer(tiny_llama)(text).input_ids
