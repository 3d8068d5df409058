"""A request's n-grams folded into the buckets that online learning keeps weights for."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

from alise_predictor.features import Ids
from alise_predictor.online.facts import RequestFacts

BUCKETS = 32_768
"""A power of two; 128 KiB of weights a key. A quarter of it loses about .01 tau."""

MOST_FEATURES = 512
"""Of one request at most this many buckets are kept; which ones depends on the bucket alone, so
that like requests keep the same ones."""

Buckets = npt.NDArray[np.uint16]

_SCATTER = 0x9E35


@dataclass(frozen=True, slots=True)
class SparseRequest:
    """The set of buckets of a request.

    Attributes:
        buckets: Ascending and distinct, ``1 <= n <= MOST_FEATURES``.
        value: Every present bucket's value, chosen so that the vector has length 1.
    """

    buckets: Buckets
    value: float

    @classmethod
    def of(cls, buckets: Buckets) -> "SparseRequest":
        """From distinct buckets in ascending order."""
        return cls(buckets, 1.0 / sqrt(len(buckets)))


def fold(ids: Ids, facts: RequestFacts) -> SparseRequest:
    """Fold feature ids and identifying facts; repeated ids count once."""
    folded = (ids & (BUCKETS - 1)).astype(np.uint16)
    extra = facts.hashes()
    if extra:
        own = np.array([value & (BUCKETS - 1) for value in extra], np.uint16)
        folded = np.concatenate((folded, own))
    folded.sort()
    keep = np.empty(len(folded), np.bool_)
    keep[0] = True
    np.not_equal(folded[1:], folded[:-1], out=keep[1:])
    distinct = folded[keep]
    if len(distinct) > MOST_FEATURES:
        distinct = _sample(distinct)
    return SparseRequest.of(distinct)


def _sample(buckets: Buckets) -> Buckets:
    scattered = (buckets.astype(np.int64) * _SCATTER) & (BUCKETS - 1)
    bound = np.partition(scattered, MOST_FEATURES)[MOST_FEATURES]
    return np.asarray(buckets[scattered < bound])
