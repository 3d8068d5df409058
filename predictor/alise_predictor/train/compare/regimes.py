"""Training sets that are compared, and what each is tested on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alise_predictor.train.dataset.corpus import Corpus
from alise_predictor.train.dataset.spec import DATASETS
from alise_predictor.train.dataset.split import TEST, UNUSED, in_distribution

RESEARCH_HELD_OUT = ("oasst_eval", "gsm8k", "mmlu_pro")
"""Held out where everything else trains: no training set has their kind of prompts."""

IN, OUT, TOOLS = "in", "out", "tools"
"""Parts of a test: known data sets, unseen ones, and tool calls, whose answers are no prose and
which therefore are in no average."""


@dataclass(frozen=True, slots=True)
class Regime:
    """One training set and its tests.

    Attributes:
        name: Also of checkpoints.
        summary: For the report.
        train: Data sets that train.
        splits: Side of each answer, for training (``dataset.split``).
        tests: Part to a mask over the answers.
    """

    name: str
    summary: str
    train: tuple[str, ...]
    splits: npt.NDArray[np.int8]
    tests: dict[str, npt.NDArray[np.bool_]]

    def all_splits(self) -> npt.NDArray[np.int8]:
        """Side of each answer with every test, to be searched for leaks."""
        splits = self.splits.copy()
        for mask in self.tests.values():
            splits[mask] = TEST
        return splits


def regimes(corpus: Corpus) -> list[Regime]:
    """The shipped training set, and all data that may train."""
    known = {facts.name: facts for facts in corpus.datasets}
    kinds = {source: known[source.partition(":")[0]] for source in corpus.sources}
    trains = [source for source, facts in kinds.items() if facts.trains]
    derived = _derived()
    clean = [source for source in trains if kinds[source].permissive and source not in derived]
    research = [name for name in trains if name not in RESEARCH_HELD_OUT]
    found = [
        (
            "shipped",
            "permissive data sets train; all others are out of distribution",
            clean,
            [name for name in trains if name not in clean],
        ),
        (
            "research",
            "every data set trains, non-commercial ones too, but those held out",
            research,
            [name for name in RESEARCH_HELD_OUT if name in kinds],
        ),
    ]
    return [
        make_regime(corpus, name, summary, train, out)
        for name, summary, train, out in found
        if train
    ]


def make_regime(
    corpus: Corpus, name: str, summary: str, train: list[str], out: list[str]
) -> Regime:
    """A regime out of names.

    Prompts of ``out`` whose near-duplicates are in a training data set are not scored.

    Args:
        corpus: All prompts.
        name: See ``Regime``.
        summary: See ``Regime``.
        train: Data sets that train; their test clusters are the test in distribution.
        out: Data sets that test out of distribution.
    """
    answers = corpus.answers.prompt
    known = _of(corpus, train)
    splits = in_distribution(corpus)
    splits[~known[answers]] = UNUSED
    known_clusters = np.isin(corpus.prompt_cluster, corpus.prompt_cluster[known])
    tools = [facts.name for facts in corpus.datasets if not facts.trains and facts.name != "own"]
    tests = {IN: splits == TEST}
    for part, sources in ((OUT, out), (TOOLS, tools)):
        mask = (_of(corpus, sources) & ~known_clusters)[answers]
        if mask.any():
            tests[part] = mask
    return Regime(name, summary, tuple(train), splits, tests)


def _derived() -> set[str]:
    """Permissive data sets that took their prompts from others; see ``DatasetSpec``."""
    return {spec.name for spec in DATASETS if spec.drop_shared}


def _of(corpus: Corpus, sources: list[str]) -> npt.NDArray[np.bool_]:
    numbers = [corpus.sources.index(name) for name in sources if name in corpus.sources]
    return np.isin(corpus.prompt_source, numbers)
