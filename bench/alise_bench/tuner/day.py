"""The day that is simulated: a recorded one's rates and lengths, or anybody's trace.

The built-in day: requests per 10-minute window of a production service (ServeGen), arrivals inside
a window with BurstGPT's gaps, lengths of real answers of a reasoning model. Scaled by one factor so
that the busiest window brings a given multiple of what the pool can serve with exact KV.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from alise_bench.demo.workload import read_sample
from alise_bench.workloads.arrivals import BURSTGPT_SHAPE
from alise_bench.workloads.traces import estimate_tokens, read_trace
from alise_core.errors import ConfigError

FILE = "servegen_day.json"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of the day.

    Attributes:
        at: Seconds after the day's begin.
        prompt_tokens: At least 1.
        output_tokens: At least 1; nobody but the simulator knows it.
        median_tokens: Predicted.
        high_tokens: Predicted 90th percentile.
    """

    at: float
    prompt_tokens: int
    output_tokens: int
    median_tokens: float
    high_tokens: float


@dataclass(frozen=True, slots=True)
class RecordedDay:
    """What the built-in day is made of; see ``bench/alise_bench/data/README.md``."""

    window_seconds: float
    rates: tuple[float, ...]
    output_tokens: tuple[int, ...]
    facts: dict[str, object]


PREDICTION_SIGMA = 0.6
"""Of the log of predicted by true length: what is predicted is off by a factor of 1.8 or more for
one request in three. Sums over a pool of requests are far better. An assumption; the shipped
predictor's errors on real prompts are in docs/results/predictor.md."""
HIGH_FACTOR = 2.2
"""From the median to the 90th percentile of that: exp(1.28 * 0.6)."""


def read_day() -> RecordedDay:
    """The built-in one.

    Raises:
        ConfigError: The file is damaged.
    """
    try:
        raw = json.loads((resources.files("alise_bench.data") / FILE).read_bytes())
        return RecordedDay(
            float(raw["window_seconds"]),
            tuple(map(float, raw["rates"])),
            tuple(map(int, raw["output_tokens"])),
            dict(raw["sources"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{FILE} is damaged ({error}); install alise again") from error


def lengths_of(day: RecordedDay, count: int, most_tokens: int, seed: int) -> list[tuple[int, int]]:
    """Prompt and answer of so many requests.

    The answers' prompts are not published; those of the bundled sample stand in, drawn apart.
    """
    generator = random.Random(seed)  # noqa: S311
    prompts = [estimate_tokens(row.prompt) for row in read_sample()]
    pairs = []
    for _ in range(count):
        prompt = generator.choice(prompts)
        pairs.append((prompt, min(generator.choice(day.output_tokens), most_tokens - prompt)))
    return pairs


def built_in(
    day: RecordedDay, peak_rate: float, hours: float, most_tokens: int, seed: int
) -> list[Asked]:
    """Requests of the first hours of the day.

    Args:
        day: What it is made of.
        peak_rate: Requests a second in the day's busiest window.
        hours: From midnight on.
        most_tokens: That a request may come to.
        seed: Of everything that is drawn.
    """
    generator = random.Random(seed)  # noqa: S311
    factor = peak_rate / max(day.rates)
    ends, times = hours * 3_600.0, []
    for place, rate in enumerate(day.rates):
        begin = place * day.window_seconds
        if begin >= ends or rate <= 0:
            continue
        until = min(ends, begin + day.window_seconds)
        scale = 1.0 / (rate * factor * BURSTGPT_SHAPE)
        now = begin + generator.random() * scale
        while now < until:
            times.append(now)
            now += generator.gammavariate(BURSTGPT_SHAPE, scale)
    pairs = lengths_of(day, len(times), most_tokens, seed + 1)
    return predicted(zip(times, pairs, strict=True), seed + 2)


def from_file(path: Path, most_tokens: int, seed: int) -> list[Asked]:
    """Requests of a trace as docs/benchmarks.md describes it, at its own times.

    Raises:
        ConfigError: The file cannot be read or is not as documented.
    """
    rows = read_trace(path)
    pairs = []
    for row in rows:
        prompt = min(row.prompt_tokens, most_tokens - 1)
        pairs.append((row.arrival_s, (prompt, min(row.output_tokens, most_tokens - prompt))))
    return predicted(pairs, seed)


def predicted(
    rows: "Sequence[tuple[float, tuple[int, int]]] | zip[tuple[float, tuple[int, int]]]", seed: int
) -> list[Asked]:
    """The requests, each with a prediction that errs."""
    generator = random.Random(seed)  # noqa: S311
    found = []
    for at, (prompt, output) in rows:
        median = output * generator.lognormvariate(0.0, PREDICTION_SIGMA)
        found.append(Asked(at, prompt, output, median, median * HIGH_FACTOR))
    return found
