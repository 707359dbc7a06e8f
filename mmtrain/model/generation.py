"""Generate the answers of a model to many questions, for samples and for evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mmtrain.data.dataset import Content
from mmtrain.data.dialogue_dataset import to_turns
from mmtrain.data.features import FeatureStore
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.engines.detokenizer import Detokenizer
from mmtui.pipeline.engines.sampling import GREEDY, Sampler
from mmtui.pipeline.engines.torch_engine import TorchEngine
from mmtui.pipeline.engines.torch_language import TorchLanguage
from mmtui.pipeline.prompt import ChatFormat, Role
from mmtui.pipeline.sequence import to_positions

MAX_TOKENS = 60
Question = Sequence[tuple[Role, Content]]  # a dialogue whose next turn is the answer


@dataclass
class AnswerGenerator:
    """Generates answers in batches.

    Attributes:
        language: The language model.
        projector: Maps patch features to embeddings of the language model; None for text alone.
        chat: The chat template.
        store: The patch features of pictures; None for text alone.
        patches: Patches of a picture.
    """

    language: TorchLanguage
    projector: Any
    chat: ChatFormat
    store: FeatureStore | None
    patches: int

    def generate(
        self,
        questions: Sequence[Question],
        batch: int,
        max_tokens: int = MAX_TOKENS,
        report: Report = ignore_progress,
    ) -> list[str]:
        """Return the greedy answers to questions, in their order; see `sample`."""
        answers = self.sample(questions, batch, 1, Sampler(GREEDY), max_tokens, report)
        return [answer for (answer,) in answers]

    @torch.no_grad()
    def sample(
        self,
        questions: Sequence[Question],
        batch: int,
        answers_per_question: int,
        sampler: Sampler,
        max_tokens: int = MAX_TOKENS,
        report: Report = ignore_progress,
    ) -> list[list[str]]:
        """Return several answers to each question, in the order of the questions.

        Questions of similar length share a batch, which saves padding.

        Args:
            questions: The dialogues to continue.
            batch: Questions per batch.
            answers_per_question: How many answers to generate to each question.
            sampler: Chooses the next tokens.
            max_tokens: Maximum length of an answer in tokens.
            report: Called with the number of answered questions.
        """
        prompts = [self._encode(question) for question in questions]
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        answers: list[list[str]] = [[] for _ in prompts]
        engine = TorchEngine(self.language)
        stops = self.language.stop_ids | self.chat.stop_ids
        for start in range(0, len(order), batch):
            report("answering", start, len(order))
            chosen = order[start : start + batch]
            sequences = [prompts[index] for index in chosen]
            keys = {slot[0] for row in sequences for slot in row if isinstance(slot, tuple)}
            features = self._project(sorted(keys))
            tokens = engine.generate(
                sequences, features, sampler, max_tokens, stops, answers_per_question
            )
            for row, answer in enumerate(tokens):
                answers[chosen[row // answers_per_question]].append(self._decode(answer))
        report("answering", len(order), len(order))
        return answers

    def is_complete(self, answer: str, max_tokens: int) -> bool:
        """Return whether an answer ended by itself, before the length limit in tokens."""
        return len(self.language.tokenizer(answer).input_ids) < max_tokens - 1

    def _project(self, keys: list[str]) -> dict[str, torch.Tensor]:
        if not keys:
            return {}
        assert self.store is not None
        weight = next(self.projector.parameters())
        stacked = torch.stack([self.store[key] for key in keys])
        return dict(zip(keys, self.projector(stacked.to(weight.device, weight.dtype)), strict=True))

    def _encode(self, question: Question) -> list[Any]:
        turns = to_turns(question, self.store)
        return to_positions(self.chat.encode(turns), self.patches)

    def _decode(self, tokens: list[int]) -> str:
        stream = Detokenizer(self.language.make_decoder(), self.chat.stop_strings)
        text = ""
        for token in tokens:
            text += stream.push(token)
            if stream.is_stopped:
                break
        return (text + stream.flush()).strip()
