"""The data card: what a corpus is made of, as JSON for machines and Markdown for people."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from alise_predictor.train.dataset.corpus import Corpus, DatasetFacts
from alise_predictor.train.dataset.dedup import SIMILARITY
from alise_predictor.train.dataset.parts import MAX_SAME_SHARE, MIN_DISTINCT
from alise_predictor.train.dataset.split import SALT, SPLITS

PERCENTILES = (5, 25, 50, 75, 95, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCard:
    """One dataset's entry.

    Attributes:
        facts: What loading found out.
        prompts: Number of prompts.
        answers: Number of answers.
        models: Number of models, or of runs where sampling settings differ.
        clusters: Number of near-duplicate clusters.
        censored: Share of answers whose length is a lower bound.
        tokens: Percentiles of the lengths, keyed "p5" and so on; empty without answers.
        splits: Prompts in each split.
    """

    facts: DatasetFacts
    prompts: int
    answers: int
    models: int
    clusters: int
    censored: float
    tokens: dict[str, float]
    splits: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCard:
    """A corpus' card.

    Attributes:
        datasets: An entry for each dataset asked for, present or not.
        prompts: Number of prompts.
        answers: Number of answers.
        clusters: Number of near-duplicate clusters over all datasets together.
        shared_clusters: Clusters with prompts of more than one dataset of the corpus.
        tokenizer: Whose tokens the lengths count.
        salt: What the split is salted with.
        seed: Seed of the draw from capped datasets.
        sha256: Hash of the corpus.
    """

    datasets: tuple[DatasetCard, ...]
    prompts: int
    answers: int
    clusters: int
    shared_clusters: int
    tokenizer: str
    salt: str
    seed: int
    sha256: str


def describe(corpus: Corpus) -> DataCard:
    """The card of a corpus."""
    owner = np.array([prompt.id.partition("/")[0] for prompt in corpus.prompts], dtype=np.str_)
    holders = {
        (str(name), cluster)
        for name, cluster in zip(owner, corpus.prompt_cluster.tolist(), strict=True)
    }
    _, counts = np.unique([cluster for _, cluster in holders], return_counts=True)
    return DataCard(
        datasets=tuple(_describe(corpus, facts, owner == facts.name) for facts in corpus.datasets),
        prompts=len(corpus.prompts),
        answers=len(corpus.answers),
        clusters=len(counts),
        shared_clusters=int((counts > 1).sum()),
        tokenizer=corpus.tokenizer,
        salt=SALT,
        seed=corpus.seed,
        sha256=corpus.sha256,
    )


def render_json(card: DataCard) -> str:
    """The card as JSON, keys sorted."""
    return json.dumps(asdict(card), indent=2, sort_keys=True) + "\n"


def render_markdown(card: DataCard) -> str:
    """The card as Markdown."""
    absent = [entry for entry in card.datasets if not entry.prompts]
    blocks = [
        "# Training data of the length predictor",
        _summary(card),
        "## Datasets",
        _table(
            ("dataset", "licence", "may train shipped weights", "source"),
            [
                (e.facts.name, e.facts.licence, _use(e.facts), e.facts.upstream)
                for e in card.datasets
            ],
        ),
        "## Sizes",
        _table(
            (
                "dataset",
                "prompts",
                "answers",
                "models",
                "clusters",
                "shared prompts",
                "left out",
                *SPLITS,
            ),
            [
                (
                    e.facts.name,
                    e.prompts,
                    e.answers,
                    e.models,
                    e.clusters,
                    e.facts.shared_prompts,
                    e.facts.dropped_prompts,
                    *e.splits.values(),
                )
                for e in card.datasets
                if e.prompts
            ],
        ),
        "## Answer lengths",
        _table(
            ("dataset", *(f"p{p}" for p in PERCENTILES), "censored"),
            [
                (
                    e.facts.name,
                    *(f"{value:.0f}" for value in e.tokens.values()),
                    f"{e.censored:.1%}",
                )
                for e in card.datasets
                if e.answers
            ],
        ),
        "## Dropped runs",
        _list([f"{e.facts.name}: {run}" for e in card.datasets for run in e.facts.dropped_runs]),
        "## Notes",
        _list([f"{e.facts.name}: {note}" for e in card.datasets for note in e.facts.notes]),
        "## Hashes",
        _table(
            ("dataset", "SHA-256 of prompts and answers"),
            [(e.facts.name, e.facts.sha256) for e in card.datasets if e not in absent],
        ),
    ]
    return "\n\n".join(blocks) + "\n"


def _describe(corpus: Corpus, facts: DatasetFacts, own: NDArray[np.bool_]) -> DatasetCard:
    answers = corpus.answers.take(own[corpus.answers.prompt])
    names = [prompt.split for prompt, mine in zip(corpus.prompts, own, strict=True) if mine]
    values: list[float] = []
    if len(answers):
        values = np.percentile(answers.tokens, PERCENTILES).tolist()
    return DatasetCard(
        facts=facts,
        prompts=int(own.sum()),
        answers=len(answers),
        models=len(np.unique(answers.model)),
        clusters=len(np.unique(corpus.prompt_cluster[own])),
        censored=float(answers.censored.mean()) if len(answers) else 0.0,
        tokens={f"p{p}": round(v, 1) for p, v in zip(PERCENTILES, values, strict=False)},
        splits={split: names.count(split) for split in SPLITS},
    )


def _summary(card: DataCard) -> str:
    return (
        f"{card.prompts:,} prompts with {card.answers:,} measured answer lengths; lengths count "
        f"{card.tokenizer} tokens (own data: the engine's). {card.clusters:,} clusters of "
        f"near-duplicates (equal words, or Jaccard similarity of word 3-grams of at least "
        f"{SIMILARITY}), {card.shared_clusters:,} of them across datasets; a cluster is whole in "
        f"one split, by a hash salted with `{card.salt}`. Runs with fewer than {MIN_DISTINCT} "
        f"distinct lengths or more than {MAX_SAME_SHARE:.0%} of one length are dropped. A censored "
        f'length is a lower bound: the answer hit its limit. "Shared" counts prompts whose '
        f"cluster has members in other datasets, also in such as were left out. Seed {card.seed}. "
        f"SHA-256 of the corpus: `{card.sha256}`."
    )


def _use(facts: DatasetFacts) -> str:
    if not facts.trains:
        return "no, evaluation only"
    return "yes" if facts.permissive else "no"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items) or "None."
