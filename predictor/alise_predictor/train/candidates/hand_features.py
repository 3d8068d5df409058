"""Features a person would think of: counts, shares, and words that ask for long or short answers.

For the comparison only; the shipped predictor's features are ``alise_predictor.features``.
"""

import re
from math import log1p

import numpy as np
import numpy.typing as npt

from alise_predictor.features import extract
from alise_predictor.request import PredictionRequest

CUES: tuple[str, ...] = (
    "write", "list", "explain", "essay", "story", "poem", "code", "function", "program", "script",
    "implement", "create", "generate", "describe", "summarize", "summary", "translate", "rewrite",
    "edit", "correct", "classify", "identify", "name", "find", "calculate", "compute", "solve",
    "prove", "compare", "discuss", "analyze", "give", "suggest", "recommend", "design", "plan",
    "outline", "convert", "format", "json", "table", "steps", "step", "detailed", "detail", "brief",
    "briefly", "short", "long", "concise", "one", "word", "words", "sentence", "sentences",
    "paragraph", "paragraphs", "page", "article", "blog", "email", "letter", "report", "example",
    "examples", "how", "what", "why", "when", "where", "who", "which", "is", "are", "can", "does",
    "true", "false", "yes", "no", "choose", "option", "options", "answer", "question", "following",
    "python", "java", "javascript", "sql", "html", "class", "bug", "fix", "regex",
)  # fmt: skip
_SHAPES = ("sentences", "mean word", "longest line", "numbers", "largest number", "bullets",
           "options", "colons", "quotes", "braces")  # fmt: skip
_WORD = re.compile(r"[a-z0-9_']+")
_NUMBER = re.compile(r"\d{1,9}")
_OPTION = re.compile(r"(?m)^\s*\(?[A-J][.):]\s")
_BULLET = re.compile(r"(?m)^\s*[-*\u2022]\s")
_MOST_CHARACTERS = 6_144


def names() -> list[str]:
    """Of the columns ``hand_features`` gives after the request's own scalars."""
    places = [f"first word {cue}" for cue in CUES]
    return [*(f"word {cue}" for cue in CUES), *places, *_SHAPES]


def hand_features(request: PredictionRequest) -> npt.NDArray[np.float32]:
    """Scalars of the request, cue words, cue words at the beginning, and the text's shape."""
    text = request.prompt.decode("utf-8", "replace")[:_MOST_CHARACTERS]
    words = _WORD.findall(text.lower())
    known = set(words)
    begins = set(words[:3])
    values = [
        *extract(request).scalars.tolist(),
        *(float(cue in known) for cue in CUES),
        *(float(cue in begins) for cue in CUES),
        *_shape(text, words),
    ]
    return np.array(values, np.float32)


def _shape(text: str, words: list[str]) -> list[float]:
    numbers = [int(found) for found in _NUMBER.findall(text)]
    return [
        log1p(sum(text.count(mark) for mark in ".!?")),
        sum(map(len, words)) / max(1, len(words)),
        log1p(max(map(len, text.split("\n")))),
        log1p(len(numbers)),
        log1p(max(numbers, default=0)),
        log1p(len(_BULLET.findall(text))),
        log1p(len(_OPTION.findall(text))),
        log1p(text.count(":")),
        log1p(text.count('"')),
        log1p(text.count("{")),
    ]
