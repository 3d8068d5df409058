"""What an engine's metrics page says of its memory and its queue: pure.

A page has a thousand lines, of which a dozen matter, and it is read every second on the loop that
serves: the lines are found by their names, and nothing else is looked at. Text format 0.0.4 of
Prometheus; vLLM's names, and SGLang's where it has the same figure. Whatever is missing, is not a
number or cannot be true is left out, so that a page that lies in one place is still of use.
"""

import re
from dataclasses import dataclass
from math import isfinite, nan

from alise_core.errors import WireError
from alise_core.wire import engine_metrics as vllm
from alise_gateway.domain.engine_figures import EngineFigures

# Source: SGLang ``managers/metrics_collector.py``.
_SGLANG_RUNNING = "sglang:num_running_reqs"
_SGLANG_WAITING = "sglang:num_queue_reqs"
_SGLANG_USAGE_RATIO = "sglang:token_usage"
_SGLANG_CAPACITY_TOKENS = "sglang:max_total_num_tokens"

_MOST_OCCURRENCES = 4_096
"""Of one name, in comments and longer names too: hundreds of engines behind one address need
fewer, and looking at so many takes some milliseconds."""
_MOST_REQUESTS = 1e6
_MOST_COUNTED = 1e15
"""A float counts exactly up to about ten times this."""
_MOST_CAPACITY_TOKENS = 1e10
"""At 10 KB a token, which is little, a hundred terabytes."""
_MOST_USAGE_RATIO = 1.5
"""An engine may count a little more than it has, but not this much."""

_AFTER_NAME = (b"{", b" ", b"\t")
_SIGNS = (b"# TYPE ", b"# HELP ", b"vllm:", b"sglang:")
"""Some of these is in every page of metrics."""
_LABEL = {
    name: re.compile(rb"[{,]" + name.encode() + rb'="([\w.\-]{1,32})"')
    for name in ("engine", "num_gpu_blocks", "block_size", "cache_dtype")
}


@dataclass(frozen=True, slots=True)
class _Sample:
    labels: bytes
    value: float
    """Not a number where it was none."""


def parse_figures(body: bytes, at: float) -> EngineFigures:
    """Understand an engine's answer to ``GET /metrics``.

    Args:
        body: Of the answer.
        at: Monotonic seconds at which it was complete.

    Raises:
        WireError: It is no page of metrics at all.
    """
    if not any(sign in body for sign in _SIGNS):
        raise WireError("not a page of metrics")
    engines = _cache_configs(body)
    return EngineFigures(
        at=at,
        capacity_tokens=_capacity(body, engines),
        cache_dtype=_label(engines[0].labels, "cache_dtype") if engines else None,
        usage_ratio=_usage(body, engines),
        running=_whole(_sum(body, (vllm.REQUESTS_RUNNING, _SGLANG_RUNNING), _MOST_REQUESTS)),
        waiting=_whole(_sum(body, (vllm.REQUESTS_WAITING, _SGLANG_WAITING), _MOST_REQUESTS)),
        preemptions=_sum(body, (vllm.PREEMPTIONS,), _MOST_COUNTED),
        finished=_sum(body, (vllm.REQUEST_SUCCESS,), _MOST_COUNTED),
    )


def _samples(body: bytes, name: str) -> list[_Sample]:
    """Every sample of exactly this name; none at all where it occurs absurdly often."""
    found: list[_Sample] = []
    wanted = name.encode()
    start = body.find(wanted)
    for _ in range(_MOST_OCCURRENCES):
        if start < 0:
            return found
        end = start + len(wanted)
        if (start == 0 or body[start - 1] == ord("\n")) and body[end : end + 1] in _AFTER_NAME:
            stop = body.find(b"\n", end)
            found.append(_sample(body[end:] if stop < 0 else body[end:stop]))
        start = body.find(wanted, end)
    return []


def _sample(line: bytes) -> _Sample:
    """Out of what follows the name."""
    labels, brace, rest = line.rpartition(b"}")
    words = rest.split(None, 1)  # a timestamp may follow the value
    try:
        value = float(words[0])
    except (IndexError, ValueError):
        value = nan
    return _Sample(labels + brace, value)


def _sum(body: bytes, names: tuple[str, ...], most: float) -> float | None:
    """Over all engines, of the first name that there is; ``None`` unless all are possible."""
    for name in names:
        values = [sample.value for sample in _samples(body, name)]
        if values:
            possible = all(isfinite(value) and 0 <= value <= most for value in values)
            return sum(values) if possible else None
    return None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _cache_configs(body: bytes) -> list[_Sample]:
    """One sample per engine; a page that is put together from several processes repeats them."""
    samples = _samples(body, vllm.CACHE_CONFIG_INFO)
    return list({_label(sample.labels, "engine"): sample for sample in samples}.values())


def _capacity(body: bytes, engines: list[_Sample]) -> int | None:
    if not engines:
        tokens = _sum(body, (_SGLANG_CAPACITY_TOKENS,), _MOST_CAPACITY_TOKENS)
        return _whole(tokens or None)
    capacities = [_engine_capacity(sample.labels) for sample in engines]
    known = [capacity for capacity in capacities if capacity is not None]
    total = sum(known)
    return total if len(known) == len(engines) and total <= _MOST_CAPACITY_TOKENS else None


def _engine_capacity(labels: bytes) -> int | None:
    """Tokens that fit; ``num_gpu_blocks`` is the word ``None`` until the engine has measured."""
    blocks, size = _label(labels, "num_gpu_blocks"), _label(labels, "block_size")
    if blocks is None or size is None or not (blocks.isdecimal() and size.isdecimal()):
        return None
    # Block 0 stands for "no block" and never holds a token.
    tokens = (int(blocks) - 1) * int(size)
    return tokens if 0 < tokens <= _MOST_CAPACITY_TOKENS else None


def _usage(body: bytes, engines: list[_Sample]) -> float | None:
    """Mean over the engines, by their capacity where it is known."""
    samples = _samples(body, vllm.KV_CACHE_USAGE_RATIO) or _samples(body, _SGLANG_USAGE_RATIO)
    if not all(0.0 <= sample.value <= _MOST_USAGE_RATIO for sample in samples) or not samples:
        return None
    capacities = {_label(s.labels, "engine"): _engine_capacity(s.labels) for s in engines}
    weights = [capacities.get(_label(sample.labels, "engine")) or 0 for sample in samples]
    if not all(weights):
        weights = [1] * len(samples)
    used = sum(weight * sample.value for weight, sample in zip(weights, samples, strict=True))
    return min(1.0, used / sum(weights))


def _label(labels: bytes, name: str) -> str | None:
    """The value of a label where it is a plain word.

    A quote inside another label's value is escaped, so what matches is a label.
    """
    found = _LABEL[name].search(labels)
    return None if found is None else found[1].decode("ascii")
