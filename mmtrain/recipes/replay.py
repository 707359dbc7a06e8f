"""Plain questions, and what a language model answers to them before it learns to see.

Trained on beside dialogues about pictures, they keep it what it was (replay, as in
arXiv:2308.08747).
"""

import json
from itertools import product
from pathlib import Path
from random import Random

import torch

from mmtrain.data.llava import format_exchange
from mmtrain.model import loading
from mmtrain.model.generation import AnswerGenerator
from mmtui.files import replacing
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.fetch import Report

MAX_TOKENS = 160  # answers that do not end by then are left out

TOPICS = (
    "the sun", "the moon", "rain", "volcanoes", "bread", "coffee", "trees", "bees", "horses",
    "the ocean", "music", "painting", "chess", "football", "gardening", "computers", "books",
    "trains", "bridges", "electricity", "history", "sleep", "friendship", "money", "language",
    "mathematics", "mountains", "winter", "cities", "islands", "dinosaurs", "glass", "paper",
    "clocks", "maps", "democracy", "photography", "cooking", "dreams", "water",
)  # fmt: skip
QUESTIONS = (
    "What is interesting about {}?", "Tell me something about {} in two sentences.",
    "Why do people care about {}?", "Explain {} to a child.", "Give me three words about {}.",
    "Write a short sentence about {}.", "What should I know about {}?",
    "Write two lines of a poem about {}.", "Ask me a question about {}.",
    "What is the opposite of {}, and why?",
)  # fmt: skip
PLAIN = (
    "Hello!", "Hi, how are you?", "Thank you.", "Good morning.", "Who are you?",
    "What can you do?", "Can you help me?", "What is 2 + 2?", "What is 7 times 8?",
    "What is the capital of Italy?", "What is the capital of Japan?", "Who wrote Hamlet?",
    "How many days are in a week?", "Name three colours.", "Name a fruit that is red.",
    "Translate 'good night' into French.", "What is the largest planet?",
    "Write a one-line joke.", "Is the earth flat?", "Goodbye.",
)  # fmt: skip


def write(model: str, out: Path, limit: int, batch: int, report: Report) -> int:
    """LLaVA-Instruct JSON of questions and greedy answers; returns how many there are.

    The model answers without its adapter.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loaded = loading.load_components(
        checkpoint.find(model), "auto", device, report, merge_adapter=False
    )
    about = [question.format(topic) for question, topic in product(QUESTIONS, TOPICS)]
    Random(0).shuffle(about)
    questions = [*PLAIN, *about][:limit]
    generator = AnswerGenerator(loaded.language, None, loaded.chat, None, 0)
    said = generator.generate([[("user", (q,))] for q in questions], batch, MAX_TOKENS, report)
    tokenizer = loaded.language.tokenizer
    rows = [
        {"conversations": format_exchange(question, answer)}
        for question, answer in zip(questions, said, strict=True)
        if answer and len(tokenizer(answer).input_ids) < MAX_TOKENS - 1
    ]
    with replacing(out) as aside:
        text = json.dumps(rows, indent=1, ensure_ascii=False)
        aside.write_text(f"{text}\n", "utf-8", errors="replace")
    return len(rows)
