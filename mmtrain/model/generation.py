"""A trained model answers many questions at once, greedily: for samples and for scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mmtrain.data.batches import turns_of
from mmtrain.data.examples import Content
from mmtrain.data.features import FeatureStore
from mmtui.pipeline.assets.fetch import Report, silent
from mmtui.pipeline.engines.detokenizer import TextStream
from mmtui.pipeline.engines.sampling import GREEDY, Sampler
from mmtui.pipeline.engines.torch_engine import Engine
from mmtui.pipeline.engines.torch_language import LanguageModel
from mmtui.pipeline.prompt import ChatFormat, Role
from mmtui.pipeline.sequence import positions

MAX_TOKENS = 60
Question = Sequence[tuple[Role, Content]]  # a dialogue whose next turn is the answer


@dataclass
class Answerer:
    """A language model, its projector and the features that it projects."""

    language: LanguageModel
    projector: Any
    chat: ChatFormat
    store: FeatureStore | None
    patches: int

    @torch.no_grad()
    def answer(
        self,
        questions: Sequence[Question],
        batch: int,
        max_tokens: int = MAX_TOKENS,
        report: Report = silent,
    ) -> list[str]:
        """One answer for each question, in order. Questions of like length go together."""
        prompts = [self._positions(question) for question in questions]
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        answers = [""] * len(prompts)
        engine = Engine(self.language)
        stops = self.language.stop_ids | self.chat.turn_ids
        for start in range(0, len(order), batch):
            report("answering", start, len(order))
            chosen = order[start : start + batch]
            sequences = [prompts[index] for index in chosen]
            keys = {part[0] for row in sequences for part in row if isinstance(part, tuple)}
            features = self._features(sorted(keys))
            tokens = engine.generate(sequences, features, Sampler(GREEDY), max_tokens, stops)
            for index, said in zip(chosen, tokens, strict=True):
                answers[index] = self._text(said)
        report("answering", len(order), len(order))
        return answers

    def _features(self, keys: list[str]) -> dict[str, torch.Tensor]:
        if not keys:
            return {}
        assert self.store is not None
        weight = next(self.projector.parameters())
        stacked = torch.stack([self.store[key] for key in keys])
        return dict(zip(keys, self.projector(stacked.to(weight.device, weight.dtype)), strict=True))

    def _positions(self, question: Question) -> list[Any]:
        turns = turns_of(question, self.store)
        return positions(self.chat.encode(turns), self.patches)

    def _text(self, tokens: list[int]) -> str:
        stream = TextStream(self.language.tokenizer, self.chat.turn_text)
        text = ""
        for token in tokens:
            text += stream.push(token)
            if stream.ended:
                break
        return (text + stream.flush()).strip()
