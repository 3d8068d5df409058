"""Fit the step-time model to a running vLLM (``alise bench calibrate``).

In: the address of an OpenAI-compatible vLLM server that is otherwise idle. Out: a profile for
``alise sim-engine --profile-file`` and the error of the fit. A small designed set of streaming
requests varies one thing at a time: prompt length alone (time to first token), concurrency and
context (gaps between tokens while all streams of a probe are decoding). Every observation
gives one linear equation in the profile's five coefficients; they are solved by least squares
on relative errors, none below zero. A sixth unknown, the cost of a request outside the steps
(HTTP, tokenizing, hand-over), is fitted with them, for it would otherwise pass for prefill; it is
reported and is no part of the profile.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import statistics
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from alise_bench.sim.step_model import CPU, Batch, Profile
from alise_bench.sim.text import WORDS
from alise_core.clock import Clock, MonotonicClock
from alise_core.errors import ConfigError
from alise_core.units import Seconds
from alise_core.wire import engine_metrics

COEFFICIENTS = (
    "overhead_seconds",
    "prefill_token_seconds",
    "attention_pair_seconds",
    "decode_sequence_seconds",
    "kv_read_seconds",
)
REQUEST_TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Probe:
    """Streams of one shape that run together."""

    concurrency: int
    prompt_words: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Observation:
    """One measured step: what it computed and how long it took."""

    probe: Probe
    batch: Batch
    seconds: float


@dataclass(frozen=True, slots=True)
class Fit:
    """A profile and how well it explains the observations.

    Attributes:
        profile: The fitted profile.
        observations: What was fitted, one per shape.
        request_seconds: Time to first token that no step accounts for.
        median_error: Median relative error of predicted step times.
        worst_error: Largest relative error.
    """

    profile: Profile
    observations: tuple[Observation, ...]
    request_seconds: float
    median_error: float
    worst_error: float


@dataclass(frozen=True, slots=True)
class Server:
    """What the server says of itself."""

    model: str
    max_model_len: int
    num_blocks: int
    block_size: int
    cache_dtype: str


def design(max_model_len: int, repeats: int) -> list[Probe]:
    """The probes for a context length; each shape ``repeats`` times, interleaved."""
    prefill = [Probe(1, words, 1) for words in (16, 128, 512, 1024, 1536)]
    decode = [Probe(streams, 16, 64) for streams in (1, 4, 16, 32)]
    context = [Probe(streams, words, 32) for streams, words in ((1, 1024), (8, 512), (16, 768))]
    # A word is about one token; twice that leaves room for tokenizers that split more.
    fits = [
        probe
        for probe in (*prefill, *decode, *context)
        if 2 * probe.prompt_words + probe.output_tokens <= max_model_len
    ]
    return fits * repeats


def fit(observations: list[Observation], base: Profile) -> Fit:
    """Least squares on relative errors, with no coefficient below zero.

    Args:
        observations: At least one.
        base: Supplies name, sizes and source.

    Raises:
        ValueError: No observation.
    """
    if not observations:
        raise ValueError("nothing was observed")
    seconds = np.array([item.seconds for item in observations])
    rows = np.array([_row(item.batch) for item in observations]) / seconds[:, None]
    target = np.ones(len(observations))
    # Columns differ by nine orders of magnitude; solved in units of their largest entry.
    scale = np.maximum(rows.max(axis=0), 1e-30)
    active = list(range(rows.shape[1]))
    solved = np.zeros(rows.shape[1])
    while active:
        part, *_ = np.linalg.lstsq(rows[:, active] / scale[active], target, rcond=None)
        solved[:] = 0.0
        solved[active] = part / scale[active]
        if part.min() >= 0:
            break
        active.pop(int(part.argmin()))
    errors = np.abs(rows @ solved - target)
    *coefficients, request_seconds = map(float, solved)
    values = dict(zip(COEFFICIENTS, coefficients, strict=True))
    return Fit(
        Profile(**{**asdict(base), **values}),
        tuple(observations),
        request_seconds,
        float(np.median(errors)),
        float(errors.max()),
    )


def _row(batch: Batch) -> list[float]:
    return [
        1.0,
        batch.prefill_tokens,
        batch.prefill_context,
        batch.decode_sequences,
        batch.decode_context,
        float(batch.prefill_tokens > 0),
    ]


class Calibration:
    """Sends the probes.

    Args:
        client: Points at the server; authentication included.
        model: The served model.
        clock: Time.
    """

    def __init__(self, client: httpx.AsyncClient, model: str, clock: Clock) -> None:
        self._client = client
        self._model = model
        self._clock = clock
        self._words = random.Random(0)  # noqa: S311  prompts need not be secret

    async def observe(self, probe: Probe) -> Observation | None:
        """Run one probe; ``None`` when its streams did not overlap."""
        runs = [self._stream(probe) for _ in range(probe.concurrency)]
        marks = await asyncio.gather(*runs)
        prompt_tokens = marks[0].prompt_tokens
        if probe.output_tokens == 1:
            batch = Batch(prompt_tokens, prompt_tokens * (prompt_tokens + 1) / 2)
            return Observation(probe, batch, marks[0].times[0] - marks[0].sent)
        gaps = _overlapping_gaps([item.times for item in marks])
        if not gaps:
            return None
        context = prompt_tokens + probe.output_tokens // 2
        batch = Batch(
            decode_sequences=probe.concurrency, decode_context=probe.concurrency * context
        )
        return Observation(probe, batch, statistics.median(gaps))

    async def _stream(self, probe: Probe) -> "_Marks":
        body = {
            "model": self._model,
            "prompt": " ".join(self._words.choices(WORDS, k=probe.prompt_words)),
            "max_tokens": probe.output_tokens,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        marks = _Marks(self._clock.now(), [], 0)
        async with self._client.stream("POST", "/v1/completions", json=body) as reply:
            if reply.status_code != httpx.codes.OK:
                raise ConfigError(f"the server answered {reply.status_code} to a completion")
            async for line in reply.aiter_lines():
                marks.read(line, self._clock.now())
        return marks


@dataclass(slots=True)
class _Marks:
    """When one stream's events came."""

    sent: float
    times: list[float]
    prompt_tokens: int

    def read(self, line: str, now: float) -> None:
        if not line.startswith("data: {"):
            return
        if '"choices":[]' in line:
            self.prompt_tokens = int(json.loads(line[6:])["usage"]["prompt_tokens"])
        else:
            self.times.append(now)


def _overlapping_gaps(streams: list[list[float]]) -> list[float]:
    """Gaps between tokens while every stream was between its first and last token."""
    start = max(times[0] for times in streams)
    end = min(times[-1] for times in streams)
    gaps = []
    for times in streams:
        inside = [time for time in times if start <= time <= end]
        gaps += [later - earlier for earlier, later in itertools.pairwise(inside)]
    return gaps


async def calibrate(url: str, api_key: str | None, repeats: int) -> Fit:
    """Measure the server at ``url`` and fit a profile.

    Raises:
        ConfigError: The server is unreachable or does not answer as vLLM does.
    """
    headers = {} if api_key is None else {"authorization": f"Bearer {api_key}"}
    async with httpx.AsyncClient(
        base_url=url,
        headers=headers,
        timeout=REQUEST_TIMEOUT_SECONDS,
        limits=httpx.Limits(max_connections=None),
    ) as client:
        try:
            server = await _describe(client)
            calibration = Calibration(client, server.model, MonotonicClock())
            probes = design(server.max_model_len, repeats)
            await calibration.observe(probes[0])  # the first request warms caches up
            observed = [await calibration.observe(probe) for probe in probes]
        except httpx.HTTPError as error:
            raise ConfigError(f"cannot measure {url}: {error!r}") from error
    kept = _medians(item for item in observed if item is not None)
    base = Profile(
        **{
            **asdict(CPU),
            "name": "calibrated",
            "num_blocks": server.num_blocks,
            "block_size": server.block_size,
            "max_model_len": server.max_model_len,
            "cache_dtype": server.cache_dtype,
            "source": f"alise bench calibrate: {server.model}, {len(kept)} shapes x {repeats}",
        }
    )
    return fit(kept, base)


def _medians(observations: Iterable[Observation]) -> list[Observation]:
    """One observation per shape: the median of its repeats."""
    by_probe: dict[Probe, list[Observation]] = {}
    for item in observations:
        by_probe.setdefault(item.probe, []).append(item)
    return [
        Observation(probe, items[0].batch, statistics.median(item.seconds for item in items))
        for probe, items in by_probe.items()
    ]


async def _describe(client: httpx.AsyncClient) -> Server:
    models = (await client.get("/v1/models")).raise_for_status().json()["data"]
    page = (await client.get("/metrics")).raise_for_status().text
    labels: dict[str, str] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == engine_metrics.CACHE_CONFIG_INFO:
                labels = sample.labels
    try:
        return Server(
            str(models[0]["id"]),
            int(models[0]["max_model_len"]),
            int(labels["num_gpu_blocks"]),
            int(labels["block_size"]),
            labels.get("cache_dtype", "auto"),
        )
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigError("the server does not describe its KV cache as vLLM does") from error


def main(arguments: list[str]) -> int:
    """``alise bench calibrate``.

    Returns: 0 when a profile was fitted.

    Raises:
        ConfigError: The server cannot be measured.
    """
    parser = argparse.ArgumentParser(
        prog="alise bench calibrate",
        description="Fit the simulator's step-time model to an idle, running vLLM server.",
    )
    parser.add_argument("--url", required=True, help="http://host:port of the server")
    parser.add_argument("--api-key")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the profile as JSON")
    options = parser.parse_args(arguments)
    result = asyncio.run(calibrate(options.url, options.api_key, max(1, options.repeats)))
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write((_as_json(result) if options.json else _as_text(result)) + "\n")
    return 0


def _as_json(result: Fit) -> str:
    return json.dumps(asdict(result), indent=2)


def _as_text(result: Fit) -> str:
    rows = [f"{name:<26} {getattr(result.profile, name):.3e}" for name in COEFFICIENTS]
    rows.append(f"{'outside the steps':<26} {result.request_seconds:.3e}")
    rows.append(f"{'kv tokens':<26} {result.profile.kv_tokens}")
    rows.append(f"\n{'streams':>7} {'prompt':>7} {'measured':>9} {'fitted':>9}")
    for item in result.observations:
        fitted = result.profile.step_seconds(item.batch)
        if item.batch.prefill_tokens:
            fitted = Seconds(fitted + result.request_seconds)
        rows.append(
            f"{item.probe.concurrency:>7} {item.probe.prompt_words:>7} "
            f"{item.seconds * 1e3:>6.2f} ms {fitted * 1e3:>6.2f} ms"
        )
    rows.append(
        f"\nrelative error of step times: median {result.median_error:.1%}, "
        f"worst {result.worst_error:.1%}"
    )
    return "\n".join(rows)
