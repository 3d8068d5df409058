"""Ways to hold data out; near-duplicates are never on both sides of any of them.

Every split but the prompts' own is an array over the answers: 0 trains, 1 validates, 2 tests and
-1 takes no part.
"""

import hashlib
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from alise_predictor.train.dataset.corpus import Corpus
from alise_predictor.train.dataset.dedup import find_clusters
from alise_predictor.train.dataset.errors import DatasetError, LeakError

SALT = "alise-length-1"
"""Hashed with a cluster's name; a new salt is a new split of everything."""

SPLITS = ("train", "val", "test")
TRAIN, VAL, TEST, UNUSED = 0, 1, 2, -1

_PERCENT = (78, 10, 12)


def assign(cluster: str) -> str:
    """The split of a cluster: 78 % train, 10 % val, 12 % test by the hash of its name."""
    digest = hashlib.sha256(f"{SALT}/{cluster}".encode()).digest()
    point = int.from_bytes(digest[:8]) % 100
    if point < _PERCENT[0]:
        return SPLITS[TRAIN]
    return SPLITS[VAL] if point < _PERCENT[0] + _PERCENT[1] else SPLITS[TEST]


def in_distribution(corpus: Corpus) -> NDArray[np.int8]:
    """Every answer goes where its prompt's cluster goes.

    Datasets which are for evaluation only take no part; ``leave_source_out`` tests on them.
    """
    evaluation = [facts.name for facts in corpus.datasets if not facts.trains]
    apart = np.array([prompt.source in evaluation for prompt in corpus.prompts], dtype=np.bool_)
    splits = _prompt_splits(corpus)
    splits[apart] = UNUSED
    return splits[corpus.answers.prompt]


def leave_source_out(corpus: Corpus, sources: Collection[str]) -> NDArray[np.int8]:
    """Tests on all of some sources; trains on the others, without clusters these hold as well.

    Args:
        corpus: The corpus.
        sources: Names of the sources held out.

    Raises:
        DatasetError: The corpus has no such source.
    """
    held = np.isin(corpus.prompt_source, _numbers(corpus.sources, sources, "source"))
    touched = np.isin(corpus.prompt_cluster, corpus.prompt_cluster[held])
    splits = _prompt_splits(corpus)
    splits[(splits == TEST) | touched] = UNUSED
    splits[held] = TEST
    return splits[corpus.answers.prompt]


def leave_model_out(corpus: Corpus, models: Collection[str]) -> NDArray[np.int8]:
    """Tests on some models' answers to test prompts; trains on the other models' answers.

    Args:
        corpus: The corpus.
        models: Names of the models held out, in every source.

    Raises:
        DatasetError: The corpus has no such model.
    """
    held = np.isin(corpus.answers.model, _numbers(corpus.models, models, "model"))
    splits = in_distribution(corpus)
    splits[held & (splits != TEST)] = UNUSED
    splits[~held & (splits == TEST)] = UNUSED
    return splits


def split_by_time(corpus: Corpus, boundary_s: float) -> NDArray[np.int8]:
    """Trains on what was sent strictly before a moment and tests on the rest.

    Clusters on both sides of the moment leave training. Prompts without a timestamp take no
    part; a tenth of the training clusters, by hash, validates.

    Args:
        corpus: The corpus.
        boundary_s: Unix seconds.
    """
    times = np.array(
        [np.nan if prompt.timestamp_s is None else prompt.timestamp_s for prompt in corpus.prompts]
    )
    after = times >= boundary_s
    later = np.isin(corpus.prompt_cluster, corpus.prompt_cluster[after])
    splits = np.full(len(corpus.prompts), UNUSED, dtype=np.int8)
    splits[(times < boundary_s) & ~later] = TRAIN
    validates = np.array([prompt.split == SPLITS[VAL] for prompt in corpus.prompts], dtype=np.bool_)
    splits[(splits == TRAIN) & validates] = VAL
    splits[after] = TEST
    return splits[corpus.answers.prompt]


def check_no_leak(corpus: Corpus, splits: NDArray[np.int8] | None = None) -> None:
    """Finds exact and near-duplicates anew and looks for any that is on two sides of a split.

    Args:
        corpus: The corpus.
        splits: A split over the answers; the in-distribution split by default.

    Raises:
        LeakError: There is one; the message names two prompts by id.
    """
    splits = in_distribution(corpus) if splits is None else splits
    used = splits != UNUSED
    prompts, sides = corpus.answers.prompt[used].astype(np.int64), splits[used]
    clusters = find_clusters([prompt.text for prompt in corpus.prompts]).astype(np.int64)
    pairs = np.unique(clusters[prompts] * len(SPLITS) + sides)
    owners, counts = np.unique(pairs // len(SPLITS), return_counts=True)
    if not (counts > 1).any():
        return
    members = np.flatnonzero(clusters[prompts] == owners[counts > 1][0])
    one = members[0]
    other = members[sides[members] != sides[one]][0]
    names = [f"{corpus.prompts[prompts[i]].id} ({SPLITS[sides[i]]})" for i in (one, other)]
    raise LeakError(
        f"{int((counts > 1).sum())} near-duplicate clusters are on two sides of the split, such "
        f"as that of {names[0]} and {names[1]}; assign whole clusters"
    )


def _prompt_splits(corpus: Corpus) -> NDArray[np.int8]:
    return np.array([SPLITS.index(prompt.split) for prompt in corpus.prompts], dtype=np.int8)


def _numbers(known: tuple[str, ...], wanted: Collection[str], what: str) -> list[int]:
    missing = sorted(set(wanted) - set(known))
    if missing:
        raise DatasetError(f"no {what} {missing} in the corpus; it has {', '.join(known[:40])}")
    return [known.index(name) for name in wanted]
