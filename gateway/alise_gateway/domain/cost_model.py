"""How long a backend takes for a request, learned from the requests it has served. Pure.

Two straight lines describe it: the prefill grows with the prompt tokens that no cache holds, the
time per output token with the requests in flight. Both are fitted by recursive least squares that
forgets, so that they follow an engine that changes. Errors count as parts of what was predicted,
since a long prompt may be off by more than a short one.

One observation moves little: an error beyond what is usual counts as a usual one. A first token
that was late has often waited in the engine's queue, which is not prefill, so late ones weigh less
than early ones. Only errors that go on and on to one side are believed in full.

Source: prefill and decode as lines: ALISE, arXiv 2410.23537; memory times time as cost: LAMPS,
arXiv 2410.18248.
"""

from dataclasses import dataclass
from math import isfinite

_KEPT = 0.998
"""Share of what is known that one observation leaves: the last 500 or so decide."""
_PSEUDO_OBSERVATIONS = 3.0
"""What is assumed before the first request counts as much as this many requests."""
_USUAL = 3.0
"""Errors up to this many times their median count in full; twice the standard deviation."""
_SPREAD_BOUNDS = (0.01, 1.0)
"""Of the median error. Even a simulated engine is not steadier, and no useful one is wilder."""
_SPREAD_GROWTH = 1.1
_LARGEST_ERROR = 1.0
_LARGEST_EARLY_ERROR = 0.5
"""One observation never counts as more than twice or less than half the prediction."""
_LONG_RUN = 8
"""Errors in a row that are unusual, to one side: the engine is not what it was taken for."""
_KEPT_IN_RUN = 0.9
_YOUNG_OBSERVATIONS = 64
"""So long late first tokens say that the engine is slow; later, that it is busy."""
_FIRST_WINDOW = 8.0
_WINDOW_GROWTH = 0.5
"""Early errors come from the prior and are forgotten: the later half of a short history decides."""
_LATE_WEIGHT = 0.3
_UNSURE_STEPS = 8.0
"""An answer of this many tokens says half as much of the time per token as a long one."""

_MOST_TOKENS = 1e8
_MOST_BATCH = 1e5
_MOST_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Served:
    """What one finished request showed of its backend.

    Attributes:
        prompt_tokens: As the engine counted them.
        cached_tokens: Those among them that its prefix cache held.
        output_tokens: As the engine counted them.
        ttft_seconds: Dispatch to first token; ``None`` where it was not streamed.
        decode_seconds: First to last token; ``None`` where unknown.
        total_seconds: Dispatch to last token.
        batch: Requests in flight on the backend, mean of its beginning and end.
    """

    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    ttft_seconds: float | None
    decode_seconds: float | None
    total_seconds: float
    batch: float


@dataclass(frozen=True, slots=True)
class _Prior:
    """What a line is before it has seen anything, and what it never exceeds."""

    base: float
    slope: float
    typical_x: float
    """At which base and slope are equally uncertain."""
    least_base: float
    most_base: float
    most_slope: float


_LEAST_KEPT = 0.4
"""Of base and of slope by one of the first observations: no prediction falls further either."""
_PREFILL = _Prior(0.02, 1e-4, 512.0, 1e-4, 30.0, 0.1)
"""Seconds and seconds per token; about an A100 with a model of some 10 billion parameters. The
bounds leave room for a processor without an accelerator."""
_STEP = _Prior(0.012, 1e-4, 16.0, 1e-5, 5.0, 0.5)
"""Seconds and seconds per request in flight; the same engine."""


class _Line:
    """``base + slope * x``, fitted as the module says.

    Args:
        prior: Where it starts.
        late_weight: Of an error upwards.
        young: Observations during which errors upwards weigh, and count in a run, like others.

    The information matrix is kept relative to the predictions' scale, so that what it weighs does
    not change while the line moves far from where it started.
    """

    __slots__ = (
        "_base_base",
        "_base_slope",
        "_late_weight",
        "_prior",
        "_run",
        "_seen",
        "_slope_slope",
        "_spread",
        "_young",
        "base",
        "slope",
    )

    def __init__(self, prior: _Prior, late_weight: float, young: float) -> None:
        self._prior = prior
        self._late_weight = late_weight
        self._young = young
        self.base = prior.base
        self.slope = prior.slope
        self._base_base = _PSEUDO_OBSERVATIONS
        self._base_slope = 0.0
        self._slope_slope = _PSEUDO_OBSERVATIONS * prior.typical_x**2
        self._spread = 0.3
        self._run = 0
        self._seen = 0

    def observe(self, x: float, y: float, weight: float) -> None:
        """Learn that ``x`` took ``y`` seconds."""
        predicted = self.base + self.slope * x
        self._seen += 1
        error = self._believed(y / predicted - 1.0)
        self._fit(x, error, predicted, weight)

    def _believed(self, error: float) -> float:
        """The part of a relative error that the line is moved by."""
        low, high = _SPREAD_BOUNDS
        # Moves up as often as down where it is the median of the errors' sizes.
        spread = self._spread
        factor = _SPREAD_GROWTH if abs(error) > spread else 1.0 / _SPREAD_GROWTH
        self._spread = min(high, max(low, spread * factor))
        limit = min(_LARGEST_ERROR, _USUAL * spread)
        if error > limit:
            self._run = max(1, self._run + 1)
        elif error < -limit:
            self._run = min(-1, self._run - 1)
        else:
            self._run = 0
        error = min(limit, max(-limit, -_LARGEST_EARLY_ERROR, error))
        return error if error < 0.0 or self._seen <= self._young else error * self._late_weight

    def _in_run(self) -> bool:
        return self._run <= -_LONG_RUN or (self._run >= _LONG_RUN and self._seen <= self._young)

    def _fit(self, x: float, error: float, predicted: float, weight: float) -> None:
        prior = self._prior
        scale = self.base + self.slope * prior.typical_x
        kept = min(_KEPT, 1.0 - 1.0 / (_FIRST_WINDOW + _WINDOW_GROWTH * self._seen))
        if self._in_run():
            kept = _KEPT_IN_RUN
        part = scale / predicted
        information = weight * part * part
        # What is forgotten is replaced by the prior's uncertainty, not by nothing: where every
        # request is like the others, the direction that they do not show stays where it was.
        renewed = (1.0 - kept) * _PSEUDO_OBSERVATIONS
        self._base_base = aa = kept * self._base_base + renewed + information
        self._base_slope = ab = kept * self._base_slope + information * x
        self._slope_slope = bb = (
            kept * self._slope_slope + renewed * prior.typical_x**2 + information * x * x
        )
        move = weight * part * error * scale / (aa * bb - ab * ab)
        base = self.base + move * (bb - ab * x)
        slope = self.slope + move * (aa * x - ab)
        # The first requests alone do not take a slope away that all other predictions stand on.
        floor = _LEAST_KEPT if self._seen <= _YOUNG_OBSERVATIONS else 0.0
        self.base = min(prior.most_base, max(prior.least_base, floor * self.base, base))
        self.slope = min(prior.most_slope, max(floor * self.slope, slope))


class CostModel:
    """Of one backend; see the module.

    Attributes:
        observations: Finished requests that taught something.
    """

    __slots__ = ("_prefill", "_step", "observations")

    def __init__(self) -> None:
        self._prefill = _Line(_PREFILL, _LATE_WEIGHT, _YOUNG_OBSERVATIONS)
        self._step = _Line(_STEP, 1.0, float("inf"))
        self.observations = 0

    def observe(self, served: Served) -> None:
        """Learn from one finished request; one that cannot have happened teaches nothing."""
        if not _is_possible(served):
            return
        uncached = float(served.prompt_tokens - served.cached_tokens)
        ttft, decode, steps = served.ttft_seconds, served.decode_seconds, served.output_tokens - 1
        if ttft is None and steps < 1:
            ttft = served.total_seconds
        if decode is None and steps >= 1:
            first = self.prefill_seconds(uncached) if ttft is None else ttft
            decode = served.total_seconds - first
        taught = False
        if ttft is not None and ttft > 0.0:
            self._prefill.observe(uncached, ttft, 1.0)
            taught = True
        if decode is not None and decode > 0.0 and steps >= 1:
            self._step.observe(served.batch, decode / steps, steps / (steps + _UNSURE_STEPS))
            taught = True
        self.observations += taught

    def prefill_seconds(self, prompt_tokens: float) -> float:
        """Time to the first token of a prompt with this many tokens that no cache holds."""
        line = self._prefill
        return line.base + line.slope * _bounded(prompt_tokens, _MOST_TOKENS)

    def step_seconds(self, batch: float) -> float:
        """Time per output token with this many requests in flight."""
        line = self._step
        return line.base + line.slope * _bounded(batch, _MOST_BATCH)

    def service_seconds(self, prompt_tokens: float, output_tokens: float, batch: float) -> float:
        """Time from dispatch to the last token.

        Args:
            prompt_tokens: That no cache holds.
            output_tokens: Predicted.
            batch: Requests in flight meanwhile.
        """
        steps = max(0.0, _bounded(output_tokens, _MOST_TOKENS) - 1.0)
        return self.prefill_seconds(prompt_tokens) + steps * self.step_seconds(batch)

    def kv_token_seconds(self, prompt_tokens: float, output_tokens: float, batch: float) -> float:
        """KV memory times the time that the request holds it, in tokens times seconds."""
        prompt = _bounded(prompt_tokens, _MOST_TOKENS)
        output = _bounded(output_tokens, _MOST_TOKENS)
        held = output * prompt + output * (output + 1.0) / 2.0
        return self.step_seconds(batch) * held + self.prefill_seconds(prompt) * prompt


def _bounded(value: float, most: float) -> float:
    """Between 0 and ``most``; no number counts as 0."""
    if 0.0 <= value <= most:
        return value
    return most if value > most else 0.0


def _is_possible(served: Served) -> bool:
    total = served.total_seconds
    seconds = (total, served.ttft_seconds or 0.0, served.decode_seconds or 0.0)
    return (
        all(isfinite(value) and 0.0 <= value <= _MOST_SECONDS for value in seconds)
        and max(seconds) <= total
        and 0 <= served.cached_tokens <= served.prompt_tokens <= _MOST_TOKENS
        and 0 <= served.output_tokens <= _MOST_TOKENS
        and 0.0 <= served.batch <= _MOST_BATCH
    )
