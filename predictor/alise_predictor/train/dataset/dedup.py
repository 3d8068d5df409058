"""Near-duplicate clusters: exact, by an all-pairs similarity join on word 3-grams.

Two texts are near-duplicates when their words are the same but for case, spacing and punctuation
(digits count), or when the Jaccard similarity of their sets of word 3-grams is at least 0.6;
clusters are the connected components. A MinHash index would miss some pairs by chance, and every
missed pair may be a leak, so candidates come from prefix filtering (Chaudhuri et al., "A
Primitive Operator for Similarity Joins", ICDE 2006; Bayardo et al., "Scaling Up All Pairs
Similarity Search", WWW 2007), which misses none: of two sets with similarity t, ordered alike,
the first |s| - ceil(t |s|) + 1 elements share one.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIMILARITY = 0.6
"""Jaccard similarity of word 3-gram sets from which on two texts are near-duplicates."""

_GRAM = 3
_WORD = re.compile(r"\w+")
_PAIRS_AT_ONCE = 1 << 20
_ELEMENTS_AT_ONCE = 1 << 22


def normalise(text: str) -> str:
    """Casefolded, single spaces, no punctuation; a text without any word keeps its signs."""
    folded = text.casefold()
    words = _WORD.findall(folded)
    return " ".join(words) if words else " ".join(folded.split())


def find_clusters(texts: Sequence[str]) -> NDArray[np.int32]:
    """The cluster of each text: the index of the cluster's first text; int32, shape (n,)."""
    keys = [normalise(text) for text in texts]
    distinct: dict[str, int] = {}
    member = np.array([distinct.setdefault(key, len(distinct)) for key in keys], dtype=np.int64)
    roots = _Forest(len(distinct))
    _join_similar(_shingle(list(distinct)), roots)
    labels = roots.labels()[member]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int32)


def name_clusters(texts: Sequence[str], clusters: NDArray[np.int32]) -> list[str]:
    """A name for each text's cluster which depends on the cluster's texts, not on their order.

    It is the smallest hash of a member's normalised text, 16 hexadecimal digits.
    """
    names: dict[int, str] = {}
    for text, cluster in zip(texts, clusters.tolist(), strict=True):
        raw = normalise(text).encode("utf-8", "replace")
        name = hashlib.sha256(raw).hexdigest()[:16]
        names[cluster] = min(name, names.get(cluster, name))
    return [names[cluster] for cluster in clusters.tolist()]


@dataclass(frozen=True, slots=True)
class _Sets:
    """Sets of shingles, one after the other, each in ascending order of rarity.

    Attributes:
        starts: Where each set starts, int64, shape (n + 1,).
        items: The shingles as ranks, rarest first, int64.
        shared: Whether a rank occurs in more than one set, bool, indexed by rank.
    """

    starts: NDArray[np.int64]
    items: NDArray[np.int64]
    shared: NDArray[np.bool_]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Elements of each set, int64, shape (n,)."""
        return np.diff(self.starts)


class _Forest:
    """Disjoint sets of indices, joined many pairs at a time."""

    __slots__ = ("_parent",)

    def __init__(self, size: int) -> None:
        self._parent = np.arange(size, dtype=np.int64)

    def labels(self) -> NDArray[np.int64]:
        """The root of each index."""
        while True:
            above = self._parent[self._parent]
            if np.array_equal(above, self._parent):
                return self._parent
            self._parent = above

    def join(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
        """Joins the components of each pair."""
        while True:
            labels = self.labels()
            low, high = (
                np.minimum(labels[left], labels[right]),
                np.maximum(labels[left], labels[right]),
            )
            apart = low != high
            if not apart.any():
                return
            # Each root points at its smallest partner; roots only ever point downwards.
            np.minimum.at(self._parent, high[apart], low[apart])


def _shingle(keys: Sequence[str]) -> _Sets:
    vocabulary: dict[str, int] = {}
    owners, grams = [], []
    for owner, key in enumerate(keys):
        words = np.array(
            [vocabulary.setdefault(word, len(vocabulary) + 1) for word in key.split()],
            dtype=np.uint64,
        )
        count = max(1, len(words) - _GRAM + 1)
        padded = np.zeros(max(_GRAM, len(words)), dtype=np.uint64)
        padded[: len(words)] = words
        # Three word numbers below 2^21 fit one 63-bit number without collisions.
        gram = (padded[:count] << np.uint64(42)) | (padded[1 : count + 1] << np.uint64(21))
        grams.append(gram | padded[2 : count + 2])
        owners.append(np.full(count, owner, dtype=np.int64))
    if len(vocabulary) >= 1 << 21:
        raise ValueError("more than two million distinct words; split the corpus")
    if not keys:
        return _Sets(np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_))
    return _order(np.concatenate(owners), np.concatenate(grams), len(keys))


def _order(owners: NDArray[np.int64], grams: NDArray[np.uint64], size: int) -> _Sets:
    _, dense = np.unique(grams, return_inverse=True)
    width = int(dense.max()) + 1
    pairs = np.unique(owners * width + dense)
    owners, dense = np.divmod(pairs, width)
    frequency = np.bincount(dense, minlength=width)
    by_rarity = np.argsort(frequency, kind="stable")
    rank = np.empty(width, dtype=np.int64)
    rank[by_rarity] = np.arange(width)
    items = rank[dense]
    order = np.lexsort((items, owners))
    starts = np.zeros(size + 1, dtype=np.int64)
    np.cumsum(np.bincount(owners, minlength=size), out=starts[1:])
    return _Sets(starts, items[order], frequency[by_rarity] > 1)


def _join_similar(sets: _Sets, roots: _Forest) -> None:
    owners, items = _prefixes(sets)
    # Sets which share a rare element are brought together, in order of size.
    order = np.lexsort((sets.sizes[owners], items))
    owners, items = owners[order], items[order]
    ends = np.searchsorted(items, items, side="right")
    limits = _last_of_size(sets.sizes[owners], items, ends)
    universe = int(sets.items.max()) + 1 if len(sets.items) else 1
    table = np.repeat(np.arange(len(sets.sizes)), sets.sizes) * universe + sets.items
    low = 0
    while low < len(owners):
        counts = _open_pairs(roots.labels()[owners], limits)
        counts[:low] = 0
        high = max(low + 1, int(np.searchsorted(np.cumsum(counts), _PAIRS_AT_ONCE, side="right")))
        left = np.repeat(np.arange(low, high), counts[low:high])
        offset = _count_up(counts[low:high])
        _verify(owners[left], owners[left + 1 + offset], sets, table, roots)
        low = high


def _open_pairs(labels: NDArray[np.int64], limits: NDArray[np.int64]) -> NDArray[np.int64]:
    # How many partners each entry has; none where all of them are in its component already, which
    # keeps thousands of prompts made from one template from costing the square of their number.
    index = np.arange(len(labels))
    changes = np.zeros(len(labels), dtype=np.int64)
    np.cumsum(labels[1:] != labels[:-1], out=changes[1:])
    return np.where(changes[limits - 1] == changes[index], 0, limits - index - 1)


def _count_up(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    # 0, 1, ... anew for each count.
    total = np.cumsum(counts)
    return np.arange(total[-1] if len(total) else 0) - np.repeat(total - counts, counts)


def _prefixes(sets: _Sets) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    sizes = sets.sizes
    owners = np.repeat(np.arange(len(sizes)), sizes)
    position = np.arange(len(sets.items)) - sets.starts[owners]
    length = sizes - np.ceil(SIMILARITY * sizes - 1e-9).astype(np.int64) + 1
    kept = (position < length[owners]) & sets.shared[sets.items]
    return owners[kept], sets.items[kept]


def _last_of_size(
    sizes: NDArray[np.int64], items: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.int64]:
    # Similar sets differ in size by at most the factor 1 / SIMILARITY; sizes ascend in each group.
    if not len(sizes):
        return ends
    width = int(sizes.max()) + 2
    largest = np.minimum(np.floor(sizes / SIMILARITY + 1e-9).astype(np.int64), width - 1)
    keys = items * width + sizes
    return np.minimum(np.searchsorted(keys, items * width + largest, side="right"), ends)


def _verify(
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    sets: _Sets,
    table: NDArray[np.int64],
    roots: _Forest,
) -> None:
    sizes, size = sets.sizes, len(sets.sizes)
    labels = roots.labels()
    apart = labels[left] != labels[right]
    left, right = left[apart], right[apart]
    pairs = np.unique(np.minimum(left, right) * size + np.maximum(left, right))
    left, right = np.divmod(pairs, size)
    swap = sizes[left] > sizes[right]
    left, right = np.where(swap, right, left), np.where(swap, left, right)
    universe = int(sets.items.max()) + 1
    for low, high in _chunks(sizes[left], _ELEMENTS_AT_ONCE):
        a, b = left[low:high], right[low:high]
        pair = np.repeat(np.arange(len(a)), sizes[a])
        within = _count_up(sizes[a])
        wanted = b[pair] * universe + sets.items[sets.starts[a][pair] + within]
        found = np.searchsorted(table, wanted)
        hit = table[np.minimum(found, len(table) - 1)] == wanted
        common = np.bincount(pair[hit], minlength=len(a))
        similar = common >= SIMILARITY * (sizes[a] + sizes[b] - common) - 1e-9
        roots.join(a[similar], b[similar])


def _chunks(counts: NDArray[np.int64], limit: int) -> list[tuple[int, int]]:
    # Consecutive ranges whose counts add up to about the limit.
    totals = np.cumsum(counts)
    bounds, low = [], 0
    while low < len(counts):
        before = totals[low - 1] if low else 0
        high = max(low + 1, int(np.searchsorted(totals, before + limit, side="right")))
        bounds.append((low, high))
        low = high
    return bounds
