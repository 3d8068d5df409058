"""A small corpus of made-up prompts whose answers' lengths follow from their words."""

from collections.abc import Mapping

import numpy as np

from alise_predictor.request import from_prompt
from alise_predictor.train.dataset.corpus import Answers, Corpus, DatasetFacts, Prompt
from alise_predictor.train.dataset.split import assign

_LONG = ("essay", "story", "report", "explain")
_SHORT = ("name", "yes", "classify", "translate")
_FILLER = ("river", "engine", "planet", "garden", "window", "market", "winter", "music", "bridge",
           "forest", "history", "island")  # fmt: skip


def make_corpus(
    sources: Mapping[str, tuple[bool, bool]],
    *,
    prompts: int = 120,
    models: int = 2,
    samples: int = 1,
    shared: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Corpus:
    """A corpus.

    Args:
        sources: Data set to (permissive, may train).
        prompts: Of each data set.
        models: Of each data set; the first of all data sets is the same.
        samples: Answers of each model to each prompt.
        shared: Data set to another whose prompts it copies.
        seed: Of prompts and lengths.
    """
    random = np.random.default_rng(seed)
    made: list[Prompt] = []
    levels: list[float] = []
    texts: dict[str, list[tuple[str, float]]] = {}
    for source, (_, trains) in sources.items():
        copied = texts.get((shared or {}).get(source, ""))
        texts[source] = copied or [_text(random) for _ in range(prompts)]
        for number, (text, level) in enumerate(texts[source]):
            cluster = text
            split = assign(cluster) if trains else "test"
            made.append(Prompt(id=f"{source}/{number}", source=source, text=text, split=split,
                               request=from_prompt(text, ""), cluster=cluster))  # fmt: skip
            levels.append(level)
    count = len(made) * models * samples
    prompt = np.repeat(np.arange(len(made)), models * samples)
    model = np.tile(np.repeat(np.arange(models), samples), len(made))
    noise = random.normal(0.0, 0.3, count)
    tokens = np.exp(np.array(levels)[prompt] + 0.4 * model + noise)
    return Corpus(
        prompts=tuple(made),
        answers=Answers(
            prompt=prompt.astype(np.int32),
            model=model.astype(np.int32),
            tokens=np.maximum(1, tokens).astype(np.int32),
            censored=np.zeros(count, np.bool_),
            sample=np.tile(np.arange(samples), len(made) * models).astype(np.int32),
        ),
        models=tuple(f"model-{number}" for number in range(models)),
        datasets=tuple(
            DatasetFacts(name=name.partition(":")[0], licence="MIT", permissive=permissive,
                         trains=trains, upstream="made up", sha256="0" * 64)
            for name, (permissive, trains) in sources.items()
        ),
        tokenizer="words",
        seed=seed,
    )  # fmt: skip


def _text(random: np.random.Generator) -> tuple[str, float]:
    """A prompt, and the level of its answers' log length."""
    long = int(random.integers(0, 3))
    short = int(random.integers(0, 3))
    words = [*random.choice(_LONG, long), *random.choice(_SHORT, short),
             *random.choice(_FILLER, 6), str(random.integers(0, 10**9))]  # fmt: skip
    random.shuffle(words)
    return " ".join(words), 4.0 + 0.6 * long - 0.6 * short
