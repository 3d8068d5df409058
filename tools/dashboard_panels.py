"""What the Grafana dashboards show: two tables.

In expressions ``$GATEWAY`` stands for the chosen gateways, ``$MODEL`` for them and the chosen
models, ``$ENGINE`` for the engines of the chosen models. Names of metrics: docs/metrics.md, and for
engines ``alise_core/wire/engine_metrics.py``.
"""

from dataclasses import dataclass

Query = tuple[str, str]
"""Legend and expression."""


@dataclass(frozen=True)
class Panel:
    """One drawing.

    Attributes:
        title: What is seen.
        about: What it means, or what to do about it.
        unit: Grafana's name of it.
        queries: Lines.
        kind: ``timeseries`` or ``stat``.
        width: Of 24 columns.
        stacked: Lines add up to something.
        thresholds: Value and colour from there on, ascending.
    """

    title: str
    about: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    thresholds: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class Row:
    """Panels that belong together."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Dashboard:
    """One page."""

    name: str
    title: str
    about: str
    rows: tuple[Row, ...]


def quantiles(metric: str, selector: str) -> tuple[Query, ...]:
    """Median, 90th and 99th percentile of a histogram over all gateways."""
    return tuple(
        (
            f"p{share * 100:g}",
            f"histogram_quantile({share}, sum by (le) "
            f"(rate({metric}_bucket{{{selector}}}[$__rate_interval])))",
        )
        for share in (0.5, 0.9, 0.99)
    )


def rates(metric: str, selector: str, by: str) -> tuple[Query, ...]:
    """A counter's rate by one label."""
    return ((f"{{{{{by}}}}}", f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"),)


def total(metric: str, selector: str, by: str) -> tuple[Query, ...]:
    """A gauge, added up by one label."""
    return ((f"{{{{{by}}}}}", f"sum by ({by}) ({metric}{{{selector}}})"),)


def worst(metric: str, selector: str, by: str) -> tuple[Query, ...]:
    """A gauge's highest value by one label."""
    return ((f"{{{{{by}}}}}", f"max by ({by}) ({metric}{{{selector}}})"),)


SERVING = Dashboard(
    "serving",
    "Serving",
    "What clients get, and what engines do for it.",
    (
        Row(
            "Now",
            (
                Panel(
                    "Requests a second",
                    "All outcomes.",
                    "reqps",
                    (("", "sum(rate(alise_gateway_requests_total{$MODEL}[$__rate_interval]))"),),
                    kind="stat",
                    width=4,
                ),
                Panel(
                    "Failed",
                    "Share of requests that failed at their backend.",
                    "percentunit",
                    (
                        (
                            "",
                            'sum(rate(alise_gateway_requests_total{$MODEL,outcome=~"failed_.*"}'
                            "[$__rate_interval])) / "
                            "sum(rate(alise_gateway_requests_total{$MODEL}[$__rate_interval]))",
                        ),
                    ),
                    kind="stat",
                    width=4,
                    thresholds=((0.001, "orange"), (0.01, "red")),
                ),
                Panel(
                    "Waiting",
                    "Requests in the queues of all gateways.",
                    "short",
                    (("", "sum(alise_gateway_waiting_requests{$GATEWAY})"),),
                    kind="stat",
                    width=4,
                ),
                Panel(
                    "In flight",
                    "Requests at backends.",
                    "short",
                    (("", "sum(alise_gateway_in_flight_requests{$GATEWAY})"),),
                    kind="stat",
                    width=4,
                ),
                Panel(
                    "Output tokens a second",
                    "As engines count them.",
                    "short",
                    (
                        (
                            "",
                            "sum(rate(alise_gateway_output_tokens_total{$MODEL}[$__rate_interval]))",
                        ),
                    ),
                    kind="stat",
                    width=4,
                ),
                Panel(
                    "Usable backends",
                    "The fewest that any gateway sees.",
                    "short",
                    (
                        (
                            "",
                            "min(sum by (pod) (alise_gateway_backends"
                            '{$GATEWAY,state=~"ready|breaker_half_open"}))',
                        ),
                    ),
                    kind="stat",
                    width=4,
                ),
            ),
        ),
        Row(
            "Requests",
            (
                Panel(
                    "By outcome",
                    "docs/outcomes.md says what each means.",
                    "reqps",
                    rates("alise_gateway_requests_total", "$MODEL", "outcome"),
                    width=12,
                    stacked=True,
                ),
                Panel(
                    "By tenant",
                    "Who asks.",
                    "reqps",
                    rates("alise_gateway_requests_total", "$MODEL", "tenant"),
                    width=12,
                    stacked=True,
                ),
                Panel(
                    "Time to first token",
                    "Streamed answers, the queue included.",
                    "s",
                    quantiles("alise_gateway_time_to_first_token_seconds", "$MODEL"),
                ),
                Panel(
                    "Time per output token",
                    "How fast answers are read.",
                    "s",
                    quantiles("alise_gateway_time_per_output_token_seconds", "$MODEL"),
                ),
                Panel(
                    "Arrival to end",
                    "Completed requests.",
                    "s",
                    quantiles("alise_gateway_request_duration_seconds", "$MODEL"),
                ),
            ),
        ),
        Row(
            "Backends",
            (
                Panel(
                    "By state",
                    "Added up over gateways: each sees every backend.",
                    "short",
                    total("alise_gateway_backends", "$GATEWAY", "state"),
                    stacked=True,
                ),
                Panel(
                    "In flight",
                    "By backend; even lines mean even work.",
                    "short",
                    total("alise_gateway_in_flight_requests", "$GATEWAY", "backend"),
                ),
                Panel(
                    "Failed attempts and retries",
                    "Attempts, retried or not, by kind.",
                    "ops",
                    (
                        *rates("alise_gateway_backend_failures_total", "$GATEWAY", "kind"),
                        (
                            "retries",
                            "sum(rate(alise_gateway_retries_total{$GATEWAY}[$__rate_interval]))",
                        ),
                    ),
                ),
                Panel(
                    "KV memory in use",
                    "As engines say.",
                    "percentunit",
                    worst("alise_gateway_backend_kv_used_ratio", "$GATEWAY", "backend"),
                ),
                Panel(
                    "KV memory expected at the worst moment",
                    "Of what is in flight; requests wait so that it stays below 1.",
                    "percentunit",
                    worst("alise_gateway_backend_kv_predicted_peak_ratio", "$GATEWAY", "backend"),
                    thresholds=((1.0, "red"),),
                ),
                Panel(
                    "Preemptions",
                    "By the engines; more than one in a hundred answers makes the gateway careful.",
                    "ops",
                    rates("vllm:num_preemptions_total", "$ENGINE", "model_name"),
                ),
                Panel(
                    "Waiting inside engines",
                    "Their queues are theirs; the gateway keeps them short.",
                    "short",
                    worst("alise_gateway_backend_engine_waiting_requests", "$GATEWAY", "backend"),
                ),
                Panel(
                    "Engines' KV cache",
                    "Scraped from the engines themselves.",
                    "percentunit",
                    worst("vllm:kv_cache_usage_perc", "$ENGINE", "pod"),
                ),
                Panel(
                    "Prefix cache hits",
                    "Share of prompt tokens.",
                    "percentunit",
                    (
                        (
                            "{{model_name}}",
                            "sum by (model_name) "
                            "(rate(vllm:prefix_cache_hits_total{$ENGINE}[$__rate_interval])) / "
                            "sum by (model_name) "
                            "(rate(vllm:prefix_cache_queries_total{$ENGINE}[$__rate_interval]))",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "Gateways",
            (
                Panel(
                    "Processor time",
                    "A gateway is one event loop: at 1 it is full. Add gateways above 0.7.",
                    "short",
                    (
                        (
                            "{{pod}}",
                            "sum by (pod) (rate(process_cpu_seconds_total{$GATEWAY}"
                            "[$__rate_interval]))",
                        ),
                    ),
                    thresholds=((0.7, "orange"), (0.9, "red")),
                ),
                Panel(
                    "Memory",
                    "Resident.",
                    "bytes",
                    worst("process_resident_memory_bytes", "$GATEWAY", "pod"),
                ),
                Panel(
                    "Connections of clients",
                    "Open; the Service spreads new ones only.",
                    "short",
                    total("alise_gateway_client_connections", "$GATEWAY", "pod"),
                ),
            ),
        ),
    ),
)

QUEUE = Dashboard(
    "queue",
    "Prediction and queue",
    "How long requests wait, in which order, and how right the predictions behind it are.",
    (
        Row(
            "Queue",
            (
                Panel(
                    "Waiting by class",
                    "Better classes are served first.",
                    "short",
                    total("alise_gateway_waiting_requests", "$GATEWAY", "service_class"),
                    stacked=True,
                ),
                Panel(
                    "Wait of dispatched requests",
                    "Those that gave up are among the drops.",
                    "s",
                    quantiles("alise_gateway_queue_duration_seconds", "$MODEL"),
                ),
                Panel(
                    "Not served, by reason",
                    "docs/scheduling.md, When there is too much.",
                    "reqps",
                    rates("alise_gateway_drops_total", "$GATEWAY", "reason"),
                    stacked=True,
                ),
            ),
        ),
        Row(
            "Memory that is promised",
            (
                Panel(
                    "Predicted demand",
                    "KV tokens that waiting and running requests are expected to need.",
                    "short",
                    (
                        (
                            "{{model}} p{{quantile}}",
                            "sum by (model, quantile) "
                            "(alise_gateway_predicted_kv_demand_tokens{$MODEL})",
                        ),
                    ),
                    width=12,
                ),
                Panel(
                    "Capacity",
                    "KV tokens of all backends that have said it.",
                    "short",
                    (
                        (
                            "tokens",
                            "sum(max by (backend) "
                            "(alise_gateway_backend_kv_capacity_tokens{$GATEWAY}))",
                        ),
                    ),
                    width=12,
                ),
                Panel(
                    "Correction",
                    "Memory in use over memory expected; below 1 where prefixes are shared.",
                    "short",
                    worst("alise_gateway_backend_kv_correction_ratio", "$GATEWAY", "backend"),
                ),
                Panel(
                    "Caution",
                    "Quantile of the length that memory is kept for; rises with preemptions.",
                    "percentunit",
                    worst("alise_gateway_backend_admission_quantile_ratio", "$GATEWAY", "backend"),
                ),
                Panel(
                    "Limit in flight",
                    "Below its setting where the engine was seen to queue.",
                    "short",
                    worst("alise_gateway_backend_in_flight_limit_requests", "$GATEWAY", "backend"),
                ),
            ),
        ),
        Row(
            "Predictions",
            (
                Panel(
                    "By source",
                    "Models, or what is known of earlier answers.",
                    "reqps",
                    rates("alise_gateway_predictions_total", "$GATEWAY", "source"),
                    stacked=True,
                ),
                Panel(
                    "Without a model, by cause",
                    "Should be nothing.",
                    "reqps",
                    rates("alise_gateway_prediction_fallbacks_total", "$GATEWAY", "reason"),
                ),
                Panel(
                    "Time that predicting takes",
                    "On the event loop.",
                    "s",
                    quantiles("alise_gateway_prediction_seconds", "$GATEWAY"),
                ),
                Panel(
                    "Right order",
                    "Share of pairs of answers predicted in the right order; 0.5 is chance.",
                    "percentunit",
                    (
                        (
                            "{{model}}",
                            "avg by (model) (alise_gateway_prediction_concordance_ratio{$MODEL})",
                        ),
                    ),
                ),
                Panel(
                    "At or below the predicted p90",
                    "0.9 is right.",
                    "percentunit",
                    (
                        (
                            "{{model}}",
                            "avg by (model) (alise_gateway_prediction_coverage_p90_ratio{$MODEL})",
                        ),
                    ),
                ),
                Panel(
                    "Length / predicted median",
                    "1 is right.",
                    "short",
                    quantiles("alise_gateway_prediction_length_ratio", "$MODEL"),
                ),
                Panel(
                    "Refined while waiting",
                    "What became of it.",
                    "reqps",
                    rates("alise_gateway_prediction_refinements_total", "$GATEWAY", "result"),
                    stacked=True,
                ),
                Panel(
                    "Drift",
                    "Of lengths; above 0.25 the traffic has changed.",
                    "short",
                    worst("alise_gateway_prediction_drift_index", "$MODEL", "model"),
                    thresholds=((0.25, "orange"),),
                ),
                Panel(
                    "Not trusted",
                    "Pairs of tenant and model that are ordered by histogram.",
                    "short",
                    (
                        (
                            "{{model}}",
                            "count by (model) (alise_gateway_prediction_trusted{$MODEL} == 0)",
                        ),
                    ),
                ),
            ),
        ),
    ),
)

DASHBOARDS = (SERVING, QUEUE)
