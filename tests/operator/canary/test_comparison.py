from dataclasses import replace
from math import inf, nan

from alise_core.crds.kv_cache_policy import CanarySpec
from alise_operator.canary.comparison import MOST_ROUNDS, MOST_SAMPLES, Comparison
from alise_operator.canary.gate import Outcome
from alise_operator.canary.quality import TokenScore
from alise_operator.tuning.samples import Counter, PodSample

SPEC = CanarySpec(observe_seconds=60)


def sample(at: float, finished: float | None = None, **changes: object) -> PodSample:
    count = at if finished is None else finished
    made = PodSample(
        at,
        usage_ratio=0.5,
        running=10.0,
        prefix_caching=True,
        counters={Counter.FINISHED: count},
        itl=((0.01, 0.0), (0.02, 10.0 * count), (inf, 10.0 * count)),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def probes(shift: float = 0.0, count: int = 300) -> list[list[TokenScore]]:
    return [[TokenScore(-1.0 - shift * (at % 3), {}, drawn=True) for at in range(count)]]


def watched(seconds: int = 80) -> Comparison:
    made = Comparison("u", "c", SPEC)
    for at in range(0, seconds, 10):
        made.saw({"c": sample(at), "a": sample(at), "b": sample(at)})
    return made


def test_nothing_is_judged_before_everything_was_seen() -> None:
    made = Comparison("u", "c", SPEC)
    assert made.verdict().outcome is Outcome.NOT_YET
    assert made.judged() is None
    made = watched()
    assert made.judged() is None
    assert made.wants_probes()
    made.answered(probes(), probes())
    assert not made.wants_probes()
    judged = made.judged()
    assert judged is not None
    assert (judged.pod_uid, judged.passed) == ("u", True)


def test_worse_answers_fail_it_before_the_time_is_over() -> None:
    made = watched(20)
    made.answered(probes(), probes(0.5))
    judged = made.judged()
    assert judged is not None
    assert not judged.passed
    assert "log-probability loss" in judged.text


def test_answers_near_the_bound_are_asked_for_again_and_not_for_ever() -> None:
    made = watched()
    for _ in range(MOST_ROUNDS):
        assert made.wants_probes()
        made.answered(probes(count=10), probes(count=10))
    assert not made.wants_probes()
    assert made.quality is not None
    assert made.quality.tokens == 10 * MOST_ROUNDS
    assert made.judged() is None


def test_an_unchanged_pod_that_starts_anew_is_compared_from_then_on() -> None:
    made = watched()
    made.answered(probes(), probes())
    made.saw({"c": sample(90), "a": sample(90, 0.0), "b": sample(90)})
    assert made.verdict().outcome is Outcome.PASSED
    made.saw({"c": sample(100, 0.0), "a": sample(100, 5.0), "b": sample(100)})
    judged = made.judged()
    assert judged is not None
    assert "started anew" in judged.text


def test_a_pod_that_is_gone_is_not_compared_with() -> None:
    made = watched()
    made.answered(probes(), probes())
    made.saw({"c": sample(90)})
    assert "no unchanged pod" in made.verdict().text


def test_tokens_without_a_number_fail_it() -> None:
    made = watched()
    made.answered(probes(), [[TokenScore(nan, {})] * 300])
    judged = made.judged()
    assert judged is not None
    assert not judged.passed


def test_memory_is_bounded_and_the_beginning_is_kept() -> None:
    made = Comparison("u", "c", SPEC)
    for at in range(3 * MOST_SAMPLES):
        made.saw({"c": sample(at), "a": sample(at)})
    assert "watched for 6143 of 60 s" in made.verdict().text
    assert all(len(kept) <= MOST_SAMPLES for kept in made._samples.values())
