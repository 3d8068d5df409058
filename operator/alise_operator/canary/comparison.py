"""One canary beside unchanged pods over time, until it is judged. Pure.

It lives in memory. A restarted operator begins a new one, so that the canary is watched for longer;
the plan's timeout bounds that.
"""

from collections.abc import Iterable, Mapping, Sequence

from alise_core.crds.kv_cache_policy import CanarySpec
from alise_operator.canary.gate import Outcome, Stretch, Verdict, answer_checks, judge, started_anew
from alise_operator.canary.quality import Quality, TokenScore, compare
from alise_operator.canary.seen import Judged
from alise_operator.tuning.samples import PodSample

MOST_SAMPLES = 2_048
"""Of one pod; of more every other one is dropped."""
MOST_ROUNDS = 8
"""Of probes: who is still too near to a bound to tell is not judged, and times out."""

Scores = Sequence[TokenScore]


class Comparison:
    """See the module.

    Args:
        pod_uid: Of the canary: another pod is another comparison.
        canary: Its name.
        spec: What it is measured by.

    Attributes:
        rounds: Of probes that were answered.
        quality: Of all rounds together; ``None`` before the first.
    """

    def __init__(self, pod_uid: str, canary: str, spec: CanarySpec) -> None:
        self.pod_uid, self.canary = pod_uid, canary
        self._spec = spec
        self._samples: dict[str, list[PodSample]] = {}
        self._unchanged: list[Scores] = []
        self._changed: list[Scores] = []
        self.rounds = 0
        self.quality: Quality | None = None

    def is_of(self, pod_uid: str, spec: CanarySpec) -> bool:
        """It is about this pod, measured by this."""
        return (self.pod_uid, self._spec) == (pod_uid, spec)

    def saw(self, samples: Mapping[str, PodSample]) -> None:
        """One look at the canary and the unchanged pods, by their names.

        A pod that is missing, or whose engine started anew, is compared from now on only; but for
        the canary, to which that is a failure.
        """
        for name in [name for name in self._samples if name not in samples]:
            if name != self.canary:
                del self._samples[name]
        for name, sample in samples.items():
            kept = self._samples.setdefault(name, [])
            if kept and name != self.canary and started_anew(kept[-1], sample):
                kept.clear()
            kept.append(sample)
            if len(kept) > MOST_SAMPLES:
                del kept[1:-1:2]

    def answered(self, unchanged: Iterable[Scores], changed: Iterable[Scores]) -> None:
        """A round of probes, scored by both."""
        self._unchanged += unchanged
        self._changed += changed
        self.rounds += 1
        # Thousands of tokens: not at every look.
        self.quality = compare(self._unchanged, self._changed)

    def wants_probes(self) -> bool:
        """Answers are not judged yet, and asking again may help."""
        checks = answer_checks(self._spec.gate, self.quality)
        unsure = any(check.outcome is Outcome.NOT_YET for check in checks)
        return unsure and self.rounds < MOST_ROUNDS

    def verdict(self) -> Verdict:
        """As far as it goes; with all figures."""
        seen = {name: Stretch(tuple(samples)) for name, samples in self._samples.items()}
        canary = seen.pop(self.canary, None)
        if canary is None:
            return Verdict.not_seen()
        seconds = self._spec.observe_seconds
        return judge(self._spec.gate, canary, tuple(seen.values()), self.quality, seconds)

    def judged(self) -> Judged | None:
        """What the plan is told; ``None`` as long as nothing is certain."""
        verdict = self.verdict()
        if verdict.outcome is Outcome.NOT_YET:
            return None
        return Judged(self.pod_uid, verdict.outcome is Outcome.PASSED, verdict.text)
