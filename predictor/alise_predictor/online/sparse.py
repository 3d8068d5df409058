"""A request's n-grams folded into the buckets that online learning keeps weights for."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

from alise_predictor.features import Ids
from alise_predictor.online.facts import RequestFacts

BUCKETS = 32_768
"""A power of two; 128 KiB of weights a key. A quarter of it loses about .01 tau."""

MOST_FEATURES = 256
"""Of one request at most this many buckets are kept; which ones depends on the bucket alone, so
that like requests keep the same ones. Three times as many gain nothing measurable."""

FACT_BUCKETS = 1_024
FACT_VALUE = 0.5
"""What an identifying fact counts, against a text's vector of length 1: a system prompt's hash is
one feature among hundreds, and says more than any word."""

MOST_FACTS = 3

Buckets = npt.NDArray[np.uint16]

_SCATTER = np.uint16(0x9E35)
"""Odd, so that multiplying permutes the buckets."""

_LAST_BUCKET = np.uint16(BUCKETS - 1)


@dataclass(frozen=True, slots=True)
class SparseRequest:
    """The set of buckets of a request.

    Attributes:
        buckets: Ascending and distinct, ``1 <= n <= MOST_FEATURES``.
        value: Every present bucket's value, chosen so that the vector has length 1.
        facts: Buckets below ``FACT_BUCKETS`` of identifying facts, distinct; at most
            ``MOST_FACTS``.
    """

    buckets: Buckets
    value: float
    facts: tuple[int, ...] = ()

    @classmethod
    def of(cls, buckets: Buckets, facts: tuple[int, ...] = ()) -> "SparseRequest":
        """From distinct buckets in ascending order."""
        return cls(buckets, 1.0 / sqrt(len(buckets)), facts)

    @property
    def norm(self) -> float:
        """Square of the length of the whole vector."""
        return 1.0 + len(self.facts) * FACT_VALUE * FACT_VALUE


def fold(ids: Ids, facts: RequestFacts) -> SparseRequest:
    """Fold feature ids and identifying facts; repeated ids count once."""
    folded = (ids & (BUCKETS - 1)).astype(np.uint16)
    folded.sort()
    keep = np.empty(len(folded), np.bool_)
    keep[0] = True
    np.not_equal(folded[1:], folded[:-1], out=keep[1:])
    distinct = folded[keep]
    if len(distinct) > MOST_FEATURES:
        distinct = _sample(distinct)
    own = dict.fromkeys(value & (FACT_BUCKETS - 1) for value in facts.hashes())
    return SparseRequest.of(distinct, tuple(own))


def _sample(buckets: Buckets) -> Buckets:
    # A tenth below the most, because the share of a hash's range is not exactly a share of buckets.
    bound = int(0.9 * MOST_FEATURES * BUCKETS / len(buckets))
    scattered = (buckets * _SCATTER) & _LAST_BUCKET
    kept: Buckets = buckets[scattered < bound][:MOST_FEATURES]
    return kept if len(kept) else buckets[:1]
