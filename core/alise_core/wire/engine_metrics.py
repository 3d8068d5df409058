"""Names of the vLLM metrics that ALISE reads, as vLLM 0.32 exports them.

Source: vLLM ``v1/metrics/loggers.py``. Every series carries the labels ``model_name`` and
``engine``.
"""

KV_CACHE_USAGE_RATIO = "vllm:kv_cache_usage_perc"
"""A fraction in [0, 1], whatever its name says."""
REQUESTS_RUNNING = "vllm:num_requests_running"
REQUESTS_WAITING = "vllm:num_requests_waiting"
REQUESTS_WAITING_BY_REASON = "vllm:num_requests_waiting_by_reason"
PREEMPTIONS = "vllm:num_preemptions_total"
PROMPT_TOKENS = "vllm:prompt_tokens_total"
GENERATION_TOKENS = "vllm:generation_tokens_total"
REQUEST_SUCCESS = "vllm:request_success_total"
ADMISSION_REJECTIONS = "vllm:admission_rejections_total"
PREFIX_CACHE_QUERIES = "vllm:prefix_cache_queries_total"
PREFIX_CACHE_HITS = "vllm:prefix_cache_hits_total"
CACHE_CONFIG_INFO = "vllm:cache_config_info"
TIME_TO_FIRST_TOKEN = "vllm:time_to_first_token_seconds"
INTER_TOKEN_LATENCY = "vllm:inter_token_latency_seconds"
REQUEST_QUEUE_TIME = "vllm:request_queue_time_seconds"
E2E_REQUEST_LATENCY = "vllm:e2e_request_latency_seconds"
