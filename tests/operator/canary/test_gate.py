from dataclasses import replace
from math import inf

import pytest

from alise_core.crds.kv_cache_policy import QualityGate
from alise_operator.canary.gate import Outcome, Stretch, Verdict, judge
from alise_operator.canary.quality import Mean, Quality
from alise_operator.tuning.samples import Counter, PodSample

GATE = QualityGate()
GOOD = Quality(900, Mean(0.0, 0.001, 900), Mean(0.001, 0.0001, 900), None, 0.04, 0)


BOUNDS = (0.01, 0.02, 0.1, inf)


def stretch(seconds: float = 300.0, gap: float = 0.01, **changes: object) -> Stretch:
    """A pod that served 100 requests and 10,000 tokens."""
    start = PodSample(
        0.0,
        usage_ratio=changes.get("usage_ratio", 0.5),  # type: ignore[arg-type]
        running=changes.get("running", 10.0),  # type: ignore[arg-type]
        prefix_caching=True,
        counters={Counter.FINISHED: 10.0, Counter.PREEMPTIONS: 1.0},
        itl=tuple((bound, 0.0) for bound in BOUNDS),
    )
    end = replace(
        start,
        at=seconds,
        counters={Counter.FINISHED: 110.0, Counter.PREEMPTIONS: 1.0},
        itl=tuple((bound, 10_000.0 * (bound > gap)) for bound in BOUNDS),
    )
    return Stretch((start, replace(end, **changes)))  # type: ignore[arg-type]


def test_usage_is_that_of_the_whole_time() -> None:
    one, other = stretch().samples
    spiky = Stretch((one, *(replace(one, at=float(at)) for at in range(1, 9)),
                     replace(other, usage_ratio=1.0)))  # fmt: skip
    assert verdict(spiky).outcome is Outcome.PASSED


def test_usage_of_a_short_time_says_nothing_yet() -> None:
    found = verdict(stretch(seconds=100.0, usage_ratio=0.9))
    assert found.outcome is Outcome.NOT_YET
    assert "KV usage 0.0900 per running request (unchanged 0.0500)" in found.text


def test_a_pod_with_more_room_may_be_given_more_requests() -> None:
    assert verdict(stretch(usage_ratio=0.9, running=36.0)).outcome is Outcome.PASSED


def verdict(canary: Stretch, quality: Quality | None = GOOD, *controls: Stretch) -> Verdict:
    return judge(GATE, canary, controls or (stretch(), stretch()), quality, 300.0)


def test_what_is_as_good_passes_with_every_figure() -> None:
    found = verdict(stretch())
    assert found.outcome is Outcome.PASSED
    for word in ("watched", "prefix caching", "usage", "preemptions", "ITL p50", "ITL p90",
                 "log-probability loss", "KL"):  # fmt: skip
        assert word in found.text


@pytest.mark.parametrize(
    ("canary", "says"),
    [
        (stretch(prefix_caching=False), "prefix caching is off"),
        (stretch(usage_ratio=0.7), "KV usage 0.0700 per running request (unchanged 0.0500)"),
        (stretch(counters={Counter.FINISHED: 110.0, Counter.PREEMPTIONS: 21.0}),
         "0.200 preemptions per request (unchanged 0.000)"),
        (stretch(counters={Counter.FINISHED: 5.0, Counter.PREEMPTIONS: 0.0}), "started anew"),
        (stretch(gap=0.05), "ITL p50 60.0 ms (unchanged 15.0)"),
        (stretch(counters={Counter.FINISHED: 110.0, Counter.ALLOCATION_FAILURES: 50.0}),
         "0.500 failed allocations per request"),
    ],
)  # fmt: skip
def test_what_is_worse_fails_and_says_so_first(canary: Stretch, says: str) -> None:
    found = verdict(canary)
    assert found.outcome is Outcome.FAILED
    assert says in found.text


@pytest.mark.parametrize(
    ("canary", "says"),
    [
        (stretch(seconds=100.0), "watched for 100 of 300 s"),
        (stretch(prefix_caching=None), "not said"),
        (stretch(usage_ratio=None), "KV usage of a running request is not known"),
        (stretch(running=None), "KV usage of a running request is not known"),
        (stretch(running=0.5), "KV usage of a running request is not known"),
        (stretch(counters={Counter.FINISHED: 12.0}), "2 requests ended"),
        (stretch(itl=()), "ITL p50 of 0 tokens"),
    ],
)
def test_too_little_is_no_pass(canary: Stretch, says: str) -> None:
    found = verdict(canary)
    assert found.outcome is Outcome.NOT_YET
    assert found.text.startswith(says) or says in found.text.split("; ")[0]


def test_nobody_to_compare_with() -> None:
    assert judge(GATE, stretch(), (), GOOD, 300.0).outcome is Outcome.NOT_YET


@pytest.mark.parametrize(
    ("quality", "outcome"),
    [
        (None, Outcome.NOT_YET),
        (replace(GOOD, tokens=255), Outcome.NOT_YET),
        (replace(GOOD, broken=1), Outcome.FAILED),
        (replace(GOOD, loss=Mean(0.03, 0.001, 900)), Outcome.FAILED),
        (replace(GOOD, loss=Mean(0.02, 0.001, 900)), Outcome.NOT_YET),
        (replace(GOOD, kl=Mean(0.03, 0.001, 900)), Outcome.FAILED),
        (replace(GOOD, drawn_kl=Mean(0.03, 0.001, 900)), Outcome.FAILED),
        (replace(GOOD, drawn_kl=Mean(0.001, 0.001, 900)), Outcome.PASSED),
    ],
)
def test_answers(quality: Quality | None, outcome: Outcome) -> None:
    assert verdict(stretch(), quality).outcome is outcome


def test_prefix_caching_that_nobody_had_is_not_missed() -> None:
    without = stretch(prefix_caching=False)
    assert verdict(without, GOOD, without).outcome is Outcome.PASSED
    gate = QualityGate(require_prefix_caching=False)
    found = judge(gate, without, (stretch(),), GOOD, 300.0)
    assert found.outcome is Outcome.PASSED
