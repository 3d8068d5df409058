"""The engine's Prometheus metrics under vLLM's names, labels and lags.

One registry per engine, so several engines live in one process. Gauges move with every step;
a preemption is counted when its victim next produces output; queue, prefill, decode and
end-to-end times are observed when a request finishes; requests whose client left are counted
nowhere, as in vLLM.

Source: vLLM ``v1/metrics/loggers.py`` (version 0.32).
"""

from collections.abc import Sequence as Many

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from alise_bench.sim.scheduler import Emitted, Scheduler
from alise_bench.sim.sequence import FinishReason, Sequence
from alise_bench.sim.step_model import Profile
from alise_core.units import Seconds
from alise_core.wire import engine_metrics as names

# fmt: off
_TTFT = (.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
         160, 640, 2560)
_ITL = (.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
_LATENCY = (.3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920,
            7680)
# fmt: on
_LABELS = ("model_name", "engine")
_FINISHED_REASONS = (*FinishReason, "error", "repetition")


def _stem(counter_name: str) -> str:
    """The client library appends ``_total`` to counters by itself."""
    return counter_name.removesuffix("_total")


class EngineMetrics:
    """Every series of one engine, zero before the first event.

    Args:
        model_name: Value of the label on every series.
        profile: Reported in ``vllm:cache_config_info``.
        scheduler: Sampled by the gauges.
    """

    def __init__(self, model_name: str, profile: Profile, scheduler: Scheduler) -> None:
        self.registry = CollectorRegistry()
        self._labels = (model_name, "0")
        self._scheduler = scheduler
        self._cache_seen = (0, 0)
        self._running = self._gauge(names.REQUESTS_RUNNING)
        self._waiting = self._gauge(names.REQUESTS_WAITING)
        by_reason = Gauge(
            names.REQUESTS_WAITING_BY_REASON,
            "Waiting requests by reason.",
            (*_LABELS, "reason"),
            registry=self.registry,
        )
        self._capacity = by_reason.labels(*self._labels, "capacity")
        by_reason.labels(*self._labels, "deferred")
        self._usage = self._gauge(names.KV_CACHE_USAGE_RATIO)
        self._preemptions = self._counter(names.PREEMPTIONS)
        self._queries = self._counter(names.PREFIX_CACHE_QUERIES)
        self._hits = self._counter(names.PREFIX_CACHE_HITS)
        self._prompt = self._counter(names.PROMPT_TOKENS)
        self._generated = self._counter(names.GENERATION_TOKENS)
        self._success = Counter(
            _stem(names.REQUEST_SUCCESS),
            "Count of successfully processed requests.",
            (*_LABELS, "finished_reason"),
            registry=self.registry,
        )
        for reason in _FINISHED_REASONS:
            self._success.labels(*self._labels, reason)
        # Counted in the API server, before an engine is chosen: no engine label.
        self._rejections = Counter(
            _stem(names.ADMISSION_REJECTIONS),
            "Number of admission attempts rejected by a queue limit, by reason.",
            ("model_name", "reason"),
            registry=self.registry,
        )
        for limit in ("max_num_queued_reqs", "max_num_queued_tokens"):
            self._rejections.labels(model_name, limit)
        self._ttft = self._histogram(names.TIME_TO_FIRST_TOKEN, _TTFT)
        self._itl = self._histogram(names.INTER_TOKEN_LATENCY, _ITL)
        self._e2e = self._histogram(names.E2E_REQUEST_LATENCY, _LATENCY)
        self._queue = self._histogram(names.REQUEST_QUEUE_TIME, _LATENCY)
        self._prefill = self._histogram("vllm:request_prefill_time_seconds", _LATENCY)
        self._decode = self._histogram("vllm:request_decode_time_seconds", _LATENCY)
        self._inference = self._histogram("vllm:request_inference_time_seconds", _LATENCY)
        self._cache_config(profile)

    def rejected(self, reason: str) -> None:
        """A request met a queue limit; ``reason`` names the limit."""
        self._rejections.labels(self._labels[0], reason).inc()

    def sample(self) -> None:
        """Set the gauges from the scheduler; called once per step and when it falls idle."""
        scheduler = self._scheduler
        waiting = len(scheduler.waiting)
        self._running.set(len(scheduler.running))
        self._waiting.set(waiting)
        self._capacity.set(waiting)
        self._usage.set(scheduler.pool.usage_ratio)

    def stepped(self, emitted: Many[Emitted]) -> None:
        """Account for one completed step."""
        self.sample()
        self._generated.inc(len(emitted))
        queries, hits = self._scheduler.cache.queries, self._scheduler.cache.hits
        self._queries.inc(queries - self._cache_seen[0])
        self._hits.inc(hits - self._cache_seen[1])
        self._cache_seen = (queries, hits)
        for output in emitted:
            now = output.sequence.last_token
            if now is None:
                raise AssertionError("an emitted token has a time")
            if output.previous is None:
                self._prompt.inc(len(output.sequence.request.prompt))
                self._ttft.observe(now - output.sequence.arrival)
            else:
                self._itl.observe(now - output.previous)
            if output.preemptions:
                self._preemptions.inc(output.preemptions)
            if output.finish is not None:
                self._finished(output.sequence, output.finish, now)

    def _finished(self, sequence: Sequence, finish: FinishReason, now: Seconds) -> None:
        first, scheduled = sequence.first_token, sequence.first_scheduled
        if first is None or scheduled is None:
            raise AssertionError("a finished sequence has run")
        self._success.labels(*self._labels, finish.value).inc()
        self._e2e.observe(now - sequence.arrival)
        self._queue.observe(scheduled - sequence.arrival)
        self._prefill.observe(first - scheduled)
        self._decode.observe(now - first)
        self._inference.observe(now - scheduled)

    def _gauge(self, name: str) -> Gauge:
        return Gauge(name, f"{name}.", _LABELS, registry=self.registry).labels(*self._labels)

    def _counter(self, name: str) -> Counter:
        return Counter(_stem(name), f"{name}.", _LABELS, registry=self.registry).labels(
            *self._labels
        )

    def _histogram(self, name: str, buckets: Many[float]) -> Histogram:
        return Histogram(name, f"{name}.", _LABELS, buckets=buckets, registry=self.registry).labels(
            *self._labels
        )

    def _cache_config(self, profile: Profile) -> None:
        labels = {
            "block_size": str(profile.block_size),
            "cache_dtype": profile.cache_dtype,
            "enable_prefix_caching": str(self._scheduler.config.prefix_caching),
            "engine": "0",
            "gpu_memory_utilization": "0.9",
            "kv_cache_max_concurrency": f"{profile.kv_tokens / profile.max_model_len:.2f}",
            "kv_cache_size_tokens": str(profile.kv_tokens),
            "num_cpu_blocks": "None",
            "num_gpu_blocks": str(profile.num_blocks),
        }
        Gauge(
            names.CACHE_CONFIG_INFO,
            "Information of the LLMEngine CacheConfig",
            tuple(labels),
            registry=self.registry,
        ).labels(**labels).set(1)
