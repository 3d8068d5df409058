"""HTTP header names, lower case, as bytes: the form in which they travel."""

REQUEST_ID = b"x-request-id"
TRACEPARENT = b"traceparent"
TRACESTATE = b"tracestate"
RETRY_AFTER = b"retry-after"

# Sent by the gateway to clients.
BACKEND = b"x-alise-backend"
QUEUE_MS = b"x-alise-queue-ms"
PREDICTED_TOKENS = b"x-alise-predicted-tokens"
DROPPED_REASON = b"x-alise-dropped-reason"
SERVICE_CLASS = b"x-alise-service-class"

# Sent by the gateway to vLLM: int64, lower is earlier (vLLM entrypoints/generate/base/serving.py).
VLLM_PRIORITY = b"x-vllm-priority"

# Sent by clients to the gateway: the longest TTFT, in milliseconds, that is of use to them. Of
# several the first in this order counts; the others are those of llm-d, new and old.
SLO_TTFT = b"x-alise-slo-ttft-ms"
SLO_TTFT_NAMES = (SLO_TTFT, b"x-llm-d-slo-ttft-ms", b"x-slo-ttft-ms")

# llm-d's, new and old; of several the first in this order counts.
INFERENCE_OBJECTIVE_NAMES = (b"x-llm-d-inference-objective", b"x-gateway-inference-objective")
FAIRNESS_ID_NAMES = (b"x-llm-d-inference-fairness-id", b"x-gateway-inference-fairness-id")

# How clients of this and of neighbouring systems state priority, fairness and placement. A
# client may not choose its own rank, so these are dropped unless its tenant is allowed them.
CLIENT_SCHEDULING = frozenset(
    {
        VLLM_PRIORITY,
        b"x-request-priority",
        b"x-smg-priority",
        *INFERENCE_OBJECTIVE_NAMES,
        *FAIRNESS_ID_NAMES,
        *SLO_TTFT_NAMES[1:],
        b"x-gateway-destination-endpoint",
        b"x-gateway-destination-endpoint-subset",
        b"x-gateway-model-name",
        b"x-llm-d-model-name-rewrite",
        b"x-dynamo-meta-policy-class",
        b"x-prefiller-host-port",
        b"x-data-parallel-host-port",
    }
)

# RFC 9110 section 7.6.1, plus what the gateway sets itself on the way to a backend.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
