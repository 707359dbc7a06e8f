"""Turns of a conversation -> token ids and image slots. Only here chat templates are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mmtui.errors import MmtuiError
from mmtui.pipeline.tokenizer import ChatTokenizer
from mmtui.pipeline.vision.images import Picture

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Turn:
    """What one side said: text and pictures, in order."""

    role: Role
    content: tuple[str | Picture, ...]


# A prompt: token ids, and a slot for each picture, which its patch features fill.
Prompt = list[int | Picture]

IGNORE = -100  # a target that is not trained; what torch's losses skip by default

_SLOT = "\ue000"  # of the private use area: stands for a picture while a template is rendered

# For models without a chat template: the question-answer form that Phi-2 was trained on.
_PLAIN_TEMPLATE = """\
{%- for message in messages -%}
{%- if message.role == 'system' -%}{{ message.content + '\\n' }}
{%- elif message.role == 'user' -%}{{ 'Instruct: ' + message.content + '\\nOutput:' }}
{%- else -%}{{ ' ' + message.content + '\\n' }}{%- endif -%}
{%- endfor -%}"""


class ChatFormat:
    """The chat template of a tokenizer, with image slots.

    Turn markers that are special tokens can't be forged by what is said in a turn.

    `turn_ids` and `turn_text` are what begins the next turn: a model that writes one of
    them has finished its answer.
    """

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._tokenizer = tokenizer
        template = tokenizer.chat_template
        if isinstance(template, dict):  # several, by name
            template = template.get("default")
        self._template = template or _PLAIN_TEMPLATE
        first = tokenizer("").input_ids[:1]  # a template writes its own
        self._bos = first if first == [tokenizer.bos_token_id] and not template else []
        self._special = [
            token.content for token in tokenizer.added_tokens_decoder.values() if token.special
        ]
        after = self._after_an_answer()
        special_ids = set(tokenizer.all_special_ids) | {
            index for index, token in tokenizer.added_tokens_decoder.items() if token.special
        }
        self.turn_ids = frozenset(self._tokens(after)) & special_ids
        ends = [token for token in self._tokens(after) if token in special_ids]
        self._end = ends[0] if ends else tokenizer.eos_token_id
        self.turn_text = () if self.turn_ids or not after.strip() else (after.rstrip(),)

    def encode(self, turns: Sequence[Turn]) -> Prompt:
        """The prompt for the assistant's next answer, or for more of one that has begun."""
        messages = self._messages(_alternating(turns))
        begun = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
        if begun:
            text = self._render(messages[:-1])
            whole = self._render(messages, answer=False)
            rest = whole[len(text) :] if whole.startswith(text) else ""
            gap = rest[: len(rest) - len(rest.lstrip())]
            # Some templates drop or add thoughts where an answer stands: then what was read counts.
            text += f"{gap}{begun}" if rest[len(gap) :].startswith(begun) else begun
        else:
            text = self._render(messages)
        return [*self._bos, *self._fill(text, _pictures(turns))]

    def encode_dialogue(self, turns: Sequence[Turn]) -> tuple[Prompt, list[int]]:
        """A dialogue to learn from, and what is to be predicted after each of its parts.

        Targets are the assistant's answers, each with its end; elsewhere they are IGNORE. What
        comes before an answer is split into tokens as `encode` does it. Raises MmtuiError for a
        template under which an answer can't be told from the rest.
        """
        if self._end is None:
            raise MmtuiError("the tokenizer of this model has no end-of-text token")
        messages, pictures = self._messages(turns), _pictures(turns)
        whole = self._render(messages, answer=False)
        prompt: Prompt = list(self._bos)
        targets = [IGNORE] * len(prompt)
        at = 0
        for number, turn in enumerate(turns):
            if turn.role != "assistant":
                continue
            before = self._render(messages[:number])
            answer = messages[number]["content"]
            begin = whole.find(answer, len(before))
            if not answer or begin < 0 or not whole.startswith(before):
                raise MmtuiError("the chat template of this model does not show where answers are")
            slots = whole[at : len(before)].count(_SLOT)
            asked = self._fill(whole[at : len(before)], pictures[:slots])
            del pictures[:slots]
            at = begin + len(answer)
            said = self._tokens(whole[len(before) : at])
            prompt += [*asked, *said]
            targets += [IGNORE] * (len(asked) - 1) + [*said, self._end]
        return prompt, targets

    def _fill(self, text: str, pictures: list[Picture]) -> Prompt:
        pieces = text.split(_SLOT)
        if len(pieces) != len(pictures) + 1:
            raise MmtuiError("the chat template of this model drops pictures")
        filled: Prompt = [*self._tokens(pieces[0])]
        for picture, piece in zip(pictures, pieces[1:], strict=True):
            filled += [picture, *self._tokens(piece)]
        return filled

    def _messages(self, turns: Sequence[Turn]) -> list[dict[str, str]]:
        return [{"role": turn.role, "content": self._content(turn)} for turn in turns]

    def _content(self, turn: Turn) -> str:
        """A line for each part; what names a picture stands after it."""
        lines = [
            f"{_SLOT} {self._inert(part.names)}".rstrip()
            if isinstance(part, Picture)
            else self._inert(part).strip()
            for part in turn.content
        ]
        return "\n".join(line for line in lines if line)

    def _inert(self, text: str) -> str:
        """Text in which no special token can be written: a zero-width space breaks it."""
        text = text.replace(_SLOT, "").encode(errors="replace").decode()  # no lone surrogates
        for token in self._special:
            text = text.replace(token, f"{token[0]}\u200b{token[1:]}")
        return text

    def _render(self, messages: list[dict[str, str]], answer: bool = True) -> str:
        try:
            return self._apply(messages, answer)
        except Exception as error:  # a template is a program: it raises what it likes
            if messages[0]["role"] != "system" or len(messages) < 2:
                raise MmtuiError(f"the chat template of this model fails: {error}") from error
        # The template knows no system role: it goes before the first question.
        system, first, *rest = messages
        merged = {**first, "content": f"{system['content']}\n\n{first['content']}"}
        return self._render([merged, *rest], answer)

    def _apply(self, messages: list[dict[str, str]], answer: bool) -> str:
        text: str = self._tokenizer.apply_chat_template(
            messages, chat_template=self._template, tokenize=False, add_generation_prompt=answer
        )
        return text

    def _after_an_answer(self) -> str:
        """What the template writes between an answer and the next question."""
        roles = ("user", "assistant", "user")
        messages = [{"role": role, "content": _SLOT} for role in roles]
        pieces = self._render(messages, answer=False).split(_SLOT)
        return pieces[2] if len(pieces) == 4 else ""

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return ids


def _alternating(turns: Sequence[Turn]) -> list[Turn]:
    """What one side said twice in a row, as after an answer that never began, is said at once."""
    said: list[Turn] = []
    for turn in turns:
        if said and said[-1].role == turn.role:
            said[-1] = Turn(turn.role, (*said[-1].content, *turn.content))
        else:
            said.append(turn)
    return said


def _pictures(turns: Sequence[Turn]) -> list[Picture]:
    return [part for turn in turns for part in turn.content if isinstance(part, Picture)]
