"""Made-up prompts, labelled by tier 1: how tier 0 gets to know words that no training prompt has.

A hashed linear model knows nothing of a word it has not seen, while the pre-trained encoder does.
Words of the training prompts are replaced by random words of the encoder's vocabulary, and halves
of prompts are put together; tier 1 says how long it thinks the answer would be.
"""

import re
from dataclasses import dataclass, replace

import numpy as np

from alise_predictor.features import extract
from alise_predictor.request import from_prompt
from alise_predictor.train.dataset.corpus import Corpus
from alise_predictor.train.examples import Examples
from alise_predictor.train.tier1 import Tier1Trainer

_LONGEST = 600
_SHORTEST_WORD = 4
_CROSSED = 0.25
_REPLACED = (0.15, 0.35, 0.6)
_MOST_HEAD, _MOST_TAIL = 20, 30


@dataclass(frozen=True, slots=True)
class DistilSettings:
    """Constants of the distillation, chosen on data sets that do not train.

    Attributes:
        prompts: Made-up prompts, at most.
        per_prompt: Made-up prompts for each real one, at most: where there are few real ones,
            labelling thousands of others would take most of the time.
        weight: Of a made-up prompt against a real one.
        share: Of tier 1's opinion in the level of a real prompt; the rest is its answers'.
    """

    prompts: int = 25_000
    per_prompt: int = 3
    weight: float = 0.2
    share: float = 0.5
    seed: int = 11


def distil(
    examples: Examples,
    corpus: Corpus,
    teacher: Tier1Trainer,
    words: list[str],
    settings: DistilSettings,
) -> Examples:
    """Examples with tier 1's opinion in their levels, and made-up ones after them.

    Args:
        examples: Real prompts.
        corpus: Where they are.
        teacher: A trained tier 1.
        words: To put in place of others, in a fixed order.
        settings: Constants.
    """
    random = np.random.default_rng(settings.seed)
    requests = [corpus.prompts[index].request for index in examples.prompts]
    texts = [one.prompt.decode("utf-8", "replace") for one in requests]
    chance = examples.weight / examples.weight.sum()
    count = min(settings.prompts, settings.per_prompt * len(texts))
    origin = random.choice(len(texts), count, p=chance)
    other = random.choice(len(texts), count, p=chance)
    made = [
        from_prompt(make_up(texts[one], texts[two], words, random), "")
        for one, two in zip(origin, other, strict=True)
    ]
    features = [*examples.features, *(extract(request) for request in made)]
    opinion = teacher.log_quantiles([*requests, *made], features).astype(np.float64)
    median = opinion[:, opinion.shape[1] // 2]
    real = len(examples)
    return replace(
        examples,
        prompts=np.concatenate((examples.prompts, np.full(len(made), -1))),
        features=features,
        level=np.concatenate(
            (
                (1 - settings.share) * examples.level + settings.share * median[:real],
                median[real:],
            )
        ),
        answers=[*examples.answers, *([np.zeros(0, np.float32)] * len(made))],
        source=np.concatenate((examples.source, examples.source[origin])),
        cluster=np.concatenate((examples.cluster, examples.cluster[origin])),
        weight=np.concatenate((examples.weight, np.full(len(made), settings.weight))),
    )


def make_up(one: str, other: str, words: list[str], random: np.random.Generator) -> str:
    """A text like a prompt that nobody wrote.

    Args:
        one: A prompt.
        other: Another one, whose end it may get.
        words: Vocabulary.
        random: Decides.
    """
    text = one
    if random.random() < _CROSSED:
        head, tail = one.split(), other.split()
        first = int(random.integers(1, max(2, min(_MOST_HEAD, len(head)))))
        last = int(random.integers(1, max(2, min(_MOST_TAIL, len(tail)))))
        text = " ".join((*head[:first], *tail[-last:]))
    parts = re.split(r"(\s+)", text[:_LONGEST])
    share = random.choice(_REPLACED)
    for index in range(0, len(parts), 2):
        word = parts[index]
        if word.isalpha() and len(word) >= _SHORTEST_WORD and random.random() < share:
            parts[index] = words[int(random.integers(len(words)))]
    return "".join(parts)


def whole_words(vocabulary: dict[str, int]) -> list[str]:
    """English words among a tokenizer's pieces, in the vocabulary's own order."""
    ordered = sorted(vocabulary, key=vocabulary.__getitem__)
    return [word for word in ordered if len(word) > 2 and word.isascii() and word.isalpha()]  # noqa: PLR2004
