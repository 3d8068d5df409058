"""Names of the gateway's metrics that other processes read; all of them are in docs/metrics.md."""

PREDICTED_KV_PEAK = "alise_gateway_predicted_kv_peak_tokens"
"""Labels ``model`` and ``quantile``: 0.5 and 0.9."""
WAITING = "alise_gateway_waiting_requests"
"""Label ``service_class``."""
