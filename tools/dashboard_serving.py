"""The dashboard about what clients get; see ``dashboard_panels``."""

from dashboard_panels import Dashboard, Panel, Row, quantiles, rates, total, worst

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
        Row(
            "Cluster",
            (
                Panel(
                    "Kinds that are not followed",
                    "By gateway; it serves from what it knew.",
                    "short",
                    (
                        (
                            "{{pod}}",
                            "count by (pod) (alise_gateway_discovery_connected{$GATEWAY} == 0)",
                        ),
                    ),
                ),
                Panel(
                    "From a pod's change to routing",
                    "Without the way from the kubelet to the gateway.",
                    "s",
                    quantiles("alise_gateway_discovery_apply_seconds", "$GATEWAY"),
                ),
                Panel(
                    "Gateways that share engines",
                    "As each counts them; they should agree.",
                    "short",
                    worst("alise_gateway_discovery_gateways", "$GATEWAY", "pod"),
                ),
            ),
        ),
    ),
)
