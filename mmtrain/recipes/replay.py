"""Replay data: questions without pictures, with the answers of the language model itself.

Finetuning on it together with dialogues about pictures reduces catastrophic forgetting
(arXiv:2308.08747).
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

MAX_TOKENS = 160  # longer answers are left out

_TOPICS = (
    "the sun", "the moon", "rain", "volcanoes", "bread", "coffee", "trees", "bees", "horses",
    "the ocean", "music", "painting", "chess", "football", "gardening", "computers", "books",
    "trains", "bridges", "electricity", "history", "sleep", "friendship", "money", "language",
    "mathematics", "mountains", "winter", "cities", "islands", "dinosaurs", "glass", "paper",
    "clocks", "maps", "democracy", "photography", "cooking", "dreams", "water", "cats", "dogs",
    "elephants", "whales", "birds", "spiders", "roses", "forests", "deserts", "rivers", "snow",
    "thunder", "stars", "comets", "gravity", "magnets", "iron", "gold", "salt", "sugar", "rice",
    "cheese", "apples", "tea", "breakfast", "running", "swimming", "tennis", "bicycles", "cars",
    "ships", "airplanes", "robots", "phones", "the internet", "television", "films", "theatre",
    "dancing", "poetry", "newspapers", "schools", "teachers", "doctors", "hospitals", "medicine",
    "the heart", "the brain", "teeth", "exercise", "holidays", "birthdays", "families", "children",
    "neighbours", "markets", "shops", "taxes", "banks", "jobs", "farms", "villages", "castles",
    "museums", "libraries", "letters", "numbers", "geometry", "statistics", "chemistry",
    "philosophy", "religion", "laws", "elections", "Africa", "Japan", "France", "Brazil",
)  # fmt: skip
_TOPIC_QUESTIONS = (
    "What is interesting about {}?", "Tell me something about {} in two sentences.",
    "Why do people care about {}?", "Explain {} to a child.", "Give me three words about {}.",
    "Write a short sentence about {}.", "What should I know about {}?",
    "Write two lines of a poem about {}.", "Ask me a question about {}.",
    "What is the opposite of {}, and why?",
)  # fmt: skip
_OTHER_QUESTIONS = (
    "Hello!", "Hi, how are you?", "Thank you.", "Good morning.", "Who are you?",
    "What can you do?", "Can you help me?", "What is 2 + 2?", "What is 7 times 8?",
    "What is the capital of Italy?", "What is the capital of Japan?", "Who wrote Hamlet?",
    "How many days are in a week?", "Name three colours.", "Name a fruit that is red.",
    "Translate 'good night' into French.", "What is the largest planet?",
    "Write a one-line joke.", "Is the earth flat?", "Goodbye.",
)  # fmt: skip


def write_replay(model: str, out: Path, limit: int, batch: int, report: Report) -> int:
    """Write questions and the model's greedy answers as LLaVA-Instruct JSON.

    Args:
        model: Preset or checkpoint folder; its adapter is not used.
        out: The JSON file to write.
        limit: Maximum number of questions.
        batch: Questions per batch.
        report: Called with the progress.

    Returns:
        The number of answers written.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    components = loading.load_components(
        checkpoint.find(model), "auto", device, report, merge_adapter=False
    )
    topic_questions = [
        question.format(topic) for question, topic in product(_TOPIC_QUESTIONS, _TOPICS)
    ]
    Random(0).shuffle(topic_questions)
    questions = [*_OTHER_QUESTIONS, *topic_questions][:limit]
    generator = AnswerGenerator(components.language, None, components.chat, None, 0)
    answers = generator.generate(
        [[("user", (question,))] for question in questions], batch, MAX_TOKENS, report
    )
    rows = [
        {"conversations": format_exchange(question, answer)}
        for question, answer in zip(questions, answers, strict=True)
        if answer and generator.is_complete(answer, MAX_TOKENS)
    ]
    with replacing(out) as temporary:
        text = json.dumps(rows, indent=1, ensure_ascii=False)
        temporary.write_text(f"{text}\n", "utf-8", errors="replace")
    return len(rows)
