"""The dashboard about waiting and predicting; see ``dashboard_panels``."""

from dashboard_panels import Dashboard, Panel, Row, quantiles, rates, total, worst

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
