"""Chat templates: encode the turns of a conversation as token ids and pictures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

from mmtui.errors import InputError, MmtuiError
from mmtui.pipeline.assets.spec import PromptSpec
from mmtui.pipeline.reading.notation import write_text
from mmtui.pipeline.speech.recording import Recording
from mmtui.pipeline.tokenizer import PromptTokenizer
from mmtui.pipeline.vision.images import Picture

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Turn:
    """A message of a conversation.

    Attributes:
        role: Who wrote the message.
        content: Text, pictures, and recordings that the model hears itself, in order.
    """

    role: Role
    content: tuple[str | Picture | Recording, ...]


Medium = Picture | Recording
# Token ids, and media in the places where their features are inserted.
Prompt = list[int | Medium]

IGNORE_INDEX = -100  # a label without a loss: the default ignore_index of torch's losses

BREAK = "\u200b"  # zero-width space: follows the first character of a special token in a text
# Characters for private use, which are removed from texts:
_SLOT = "\ue000"  # replaces a picture while a template is rendered
_MARK = "\ue001"  # replaces a text, to find out what a template writes around it

_ORDINALS = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
)  # fmt: skip

# For models without a chat template: the question-answer form that Phi-2 was trained on.
PLAIN_TEMPLATE = """\
{%- for message in messages -%}
{%- if message.role == 'system' -%}{{ message.content + '\\n' }}
{%- elif message.role == 'user' -%}{{ 'Instruct: ' + message.content + '\\nOutput:' }}
{%- else -%}{{ ' ' + message.content + '\\n' }}{%- endif -%}
{%- endfor -%}"""

_DEFAULT_SPEC = PromptSpec()


class ChatFormat:
    """The chat template of a tokenizer, extended by pictures.

    The text of a turn can't contain special tokens: a zero-width space breaks them.

    Attributes:
        stop_ids: Special tokens between an answer and the next turn. Generation stops at each of
            them.
        stop_strings: Text that starts the next turn, for a template without such tokens. Generation
            stops at it.
    """

    def __init__(self, tokenizer: PromptTokenizer, spec: PromptSpec = _DEFAULT_SPEC) -> None:
        """Use the chat template of a tokenizer, or Phi-2's question-answer form if it has none.

        Args:
            tokenizer: The tokenizer.
            spec: The chat template, if it is not the tokenizer's, and how it treats pictures.

        Raises:
            InputError: The chat template fails.
        """
        self._tokenizer = tokenizer
        template = spec.template or tokenizer.chat_template
        if isinstance(template, dict):  # several templates, by name
            template = template.get("default")
        self._template = template or PLAIN_TEMPLATE
        self._number_pictures = spec.number_pictures
        self._after_picture = self._tokenize(spec.after_picture) if spec.after_picture else []
        renders = template and spec.picture_token and self._renders_pictures(spec.picture_token)
        self._picture_token = spec.picture_token if renders else ""
        first = tokenizer("").input_ids[:1]
        # A chat template for text adds BOS itself; for one with pictures, processors add it.
        adds_bos = not template or self._picture_token
        self._bos = first if first == [tokenizer.bos_token_id] and adds_bos else []
        self._special = [
            token.content for token in tokenizer.added_tokens_decoder.values() if token.special
        ]
        self._special += [spec.picture_token] if spec.picture_token else []
        after = self._render_separator()
        special_ids = set(tokenizer.all_special_ids) | {
            index for index, token in tokenizer.added_tokens_decoder.items() if token.special
        }
        self.stop_ids = frozenset(self._tokenize(after)) & special_ids
        ends = [token for token in self._tokenize(after) if token in special_ids]
        self._end = ends[0] if ends else tokenizer.eos_token_id
        self.stop_strings = () if self.stop_ids or not after.strip() else (after.rstrip(),)

    def encode(self, turns: Sequence[Turn]) -> Prompt:
        """Encode a prompt for an answer. If the last turn is the assistant's, it is continued.

        Raises:
            InputError: The chat template fails, or drops pictures.
        """
        messages = self._to_messages(_merge_adjacent(turns))
        prefix = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
        if prefix:
            text = self._render(messages[:-1])
            rendered = self._render(messages, answer=False)
            rest = rendered[len(text) :] if rendered.startswith(text) else ""
            space = rest[: len(rest) - len(rest.lstrip())]
            # Some templates remove or add reasoning in front of an answer: do not use their text.
            text += f"{space}{prefix}" if rest[len(space) :].startswith(prefix) else prefix
        else:
            text = self._render(messages)
        prompt = self._insert_media(text, find_media(turns))
        return prompt if prompt[:1] == self._bos else [*self._bos, *prompt]

    def encode_dialogue(self, turns: Sequence[Turn]) -> tuple[Prompt, list[int]]:
        """Encode a dialogue for training.

        Text in front of an answer is tokenized as in `encode`.

        Returns:
            The prompt, and a label for each of its parts: the next token if this is part of an
            answer of the assistant or its end token, else IGNORE_INDEX.

        Raises:
            MmtuiError: The tokenizer has no end token, or answers can't be located in the
                rendered template.
        """
        if self._end is None:
            raise MmtuiError(
                "the tokenizer of this model has no end-of-text token", "train another model"
            )
        messages, pictures = self._to_messages(turns), find_media(turns)
        rendered = self._render(messages, answer=False)
        prompt: Prompt = list(self._bos)
        labels = [IGNORE_INDEX] * len(prompt)
        end = 0  # end of the last answer in the rendered text
        for number, turn in enumerate(turns):
            if turn.role != "assistant":
                continue
            context_text, answer, next_end = self._locate_answer(messages, number, rendered, end)
            slots = context_text.count(_SLOT)
            context = self._insert_media(context_text, pictures[:slots])
            del pictures[:slots]
            end = next_end
            answer_ids = self._tokenize(answer)
            prompt += [*context, *answer_ids]
            labels += [IGNORE_INDEX] * (len(context) - 1) + [*answer_ids, self._end]
        return prompt, labels

    def _locate_answer(
        self, messages: list[dict[str, str]], number: int, rendered: str, end: int
    ) -> tuple[str, str, int]:
        """Locate an answer in a rendered dialogue.

        Some templates start answers in a dialogue differently than those that are generated: then
        the generated start is used, because that is what precedes the answer at inference.

        Args:
            messages: The messages of the dialogue.
            number: Index of the answer.
            rendered: The rendered dialogue.
            end: Where the previous answer ends in it.

        Returns:
            The text from the previous answer to this one, the answer with white space in front of
            it that the template adds, and where it ends in the rendered dialogue.

        Raises:
            MmtuiError: The template changes the answer, or the messages before it.
        """
        answer, before = messages[number]["content"], self._render(messages[:number])
        if answer and rendered.startswith(before):
            start = rendered.find(answer, len(before))
            if start >= 0:
                stop = start + len(answer)
                return rendered[end : len(before)], rendered[len(before) : stop], stop
        elif answer:
            history = self._render(messages[:number], answer=False)
            marked = [*messages[:number], {**messages[number], "content": _MARK}]
            head = self._render([*marked, *messages[number + 1 :]], answer=False).split(_MARK)[0]
            located = rendered.startswith(head + answer) and head.startswith(history)
            if located and before.startswith(history):
                context = rendered[end : len(history)] + before[len(history) :]
                return context, answer, len(head + answer)
        raise MmtuiError(
            "answers can't be located in the chat template of this model", "train another model"
        )

    def _insert_media(self, text: str, media: list[Medium]) -> Prompt:
        """Tokenize a rendered text, and replace its slots by pictures and recordings."""
        pieces = text.split(_SLOT)
        if len(pieces) != len(media) + 1:
            raise InputError(
                "the chat template of this model drops pictures",
                "use another model, or ask without a picture",
            )
        slot = self._tokenize(self._picture_token)
        if len(slot) == 1:  # tokenizers may treat the text beside a special token in their own way
            left = iter(media)
            tokens = self._tokenize(text.replace(_SLOT, self._picture_token))
            return [next(left) if token == slot[0] else token for token in tokens]
        prompt: Prompt = [*self._tokenize(pieces[0])]
        for medium, piece in zip(media, pieces[1:], strict=True):
            after = self._after_picture if isinstance(medium, Picture) else []
            prompt += [medium, *after, *self._tokenize(piece)]
        return prompt

    def _to_messages(self, turns: Sequence[Turn]) -> list[dict[str, str]]:
        numbers = count(1)
        return [{"role": turn.role, "content": self._join_content(turn, numbers)} for turn in turns]

    def _join_content(self, turn: Turn, numbers: Iterator[int]) -> str:
        """Join the parts of a turn by line breaks; class names and text follow their picture."""
        lines = [
            self._escape(part).strip()
            if isinstance(part, str)
            else f"{self._write_number(part, numbers)}{_SLOT} {self._describe(part)}".rstrip()
            for part in turn.content
        ]
        return "\n".join(line for line in lines if line)

    def _write_number(self, medium: Medium, numbers: Iterator[int]) -> str:
        """Return what a prompt writes in front of a picture, such as "first picture:"."""
        if not self._number_pictures or isinstance(medium, Recording):
            return ""
        number = next(numbers)
        is_named = number <= len(_ORDINALS)
        return f"{_ORDINALS[number - 1]} picture:" if is_named else f"picture {number}:"

    def _describe(self, picture: Medium) -> str:
        """Return what a prompt says about a picture: its class names and the text in it."""
        if isinstance(picture, Recording):
            return ""
        names = self._escape(picture.names)
        if picture.text is None:
            return names
        text = self._escape(write_text(picture.text, self.count_tokens))
        return f"{names}; {text}" if names else text

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a text in a prompt."""
        return len(self._tokenize(self._escape(text)))

    def _escape(self, text: str) -> str:
        """Break special tokens in a text by a zero-width space."""
        text = text.replace(_SLOT, "").replace(_MARK, "")
        text = text.encode(errors="replace").decode()  # no lone surrogates
        for token in self._special:
            text = text.replace(token, f"{token[0]}{BREAK}{token[1:]}")
        return text

    def _render(self, messages: list[dict[str, str]], answer: bool = True) -> str:
        """Render messages; `answer`: add the start of an answer."""
        try:
            return self._apply(messages, answer)
        except Exception as error:  # a template can raise any error
            if messages[0]["role"] != "system" or len(messages) < 2:
                raise InputError(
                    f"the chat template of this model fails: {error}", "use another model"
                ) from error
        # The template has no system role: prepend the system prompt to the first question.
        system, first, *rest = messages
        merged = {**first, "content": f"{system['content']}\n\n{first['content']}"}
        return self._render([merged, *rest], answer)

    def _apply(self, messages: Sequence[Mapping[str, str]], answer: bool) -> str:
        """Render messages without a fallback; a slot is in the place of each picture."""
        rendered: Sequence[Mapping[str, object]] = messages
        if self._picture_token:
            rendered = [{**each, "content": _list_parts(each["content"])} for each in messages]
        text: str = self._tokenizer.apply_chat_template(
            rendered, chat_template=self._template, tokenize=False, add_generation_prompt=answer
        )
        return text.replace(self._picture_token, _SLOT) if self._picture_token else text

    def _renders_pictures(self, picture_token: str) -> bool:
        """Return whether the template writes the token for a picture, and the text beside it."""
        message = {"role": "user", "content": _list_parts(f"{_SLOT}{_MARK}")}
        try:
            text = self._tokenizer.apply_chat_template(
                [message],
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=True,
            )
        except Exception:  # a template can raise any error
            return False
        return picture_token in text and _MARK in text

    def _render_separator(self) -> str:
        """Return the text that the template puts between an answer and the next question."""
        roles = ("user", "assistant", "user")
        messages = [{"role": role, "content": _MARK} for role in roles]
        pieces = self._render(messages, answer=False).split(_MARK)
        return pieces[2] if len(pieces) == 4 else ""

    def _tokenize(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return ids


def _list_parts(content: str) -> list[dict[str, str]]:
    """Return a content with slots in the form that templates with pictures read."""
    parts: list[dict[str, str]] = []
    for number, text in enumerate(content.split(_SLOT)):
        parts += [{"type": "image"}] if number else []
        parts += [{"type": "text", "text": text.strip()}] if text.strip() else []
    return parts


def _merge_adjacent(turns: Sequence[Turn]) -> list[Turn]:
    """Merge adjacent turns of the same role, such as two questions after a failed answer."""
    merged: list[Turn] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            merged[-1] = Turn(turn.role, (*merged[-1].content, *turn.content))
        else:
            merged.append(turn)
    return merged


def find_pictures(turns: Sequence[Turn]) -> list[Picture]:
    """Return the pictures of all turns, in order."""
    return [part for turn in turns for part in turn.content if isinstance(part, Picture)]


def find_media(turns: Sequence[Turn]) -> list[Medium]:
    """Return the pictures and recordings of all turns, in order."""
    return [part for turn in turns for part in turn.content if not isinstance(part, str)]
