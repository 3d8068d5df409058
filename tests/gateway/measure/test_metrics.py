import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from alise_core.outcome import Outcome
from alise_core.record import RequestRecord
from alise_core.service_class import ServiceClass
from alise_gateway.domain.backend import ProbeState
from alise_gateway.domain.backend_load import BackendLoad
from alise_gateway.domain.breaker import BreakerState
from alise_gateway.domain.drop_reason import DropReason
from alise_gateway.domain.failure import FailureKind
from alise_gateway.domain.scrape import ScrapeResult
from alise_gateway.measure.gauges import GaugeSnapshot, KvDemand, UpstreamConnections
from alise_gateway.measure.labels import BackendState, ConfigSource, Success
from alise_gateway.measure.metrics import GatewayMetrics
from alise_gateway.measure.timing import intervals_of
from fakes.record import a_record, a_refusal

PAYER = {"model": "org/model", "tenant": "team-a"}
KIND = {"endpoint": "chat_completions", "model": "org/model"}


class Bench:
    """Metrics and a way to read them."""

    def __init__(self, max_label_values: int = 100) -> None:
        self.registry = CollectorRegistry()
        self.metrics = GatewayMetrics(self.registry, max_label_values)

    def finish(self, record: RequestRecord) -> None:
        self.metrics.finished(record, intervals_of(record))

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"alise_gateway_{name}", labels)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_completed_request_is_counted_everywhere(bench: Bench) -> None:
    bench.finish(a_record())
    assert (
        bench.value("requests_total", **PAYER, endpoint="chat_completions", outcome="completed")
        == 1
    )
    assert bench.value("prompt_tokens_total", **PAYER) == 512
    assert bench.value("output_tokens_total", **PAYER) == 5
    assert bench.value("cached_tokens_total", **PAYER) == 256
    assert bench.value("request_bytes_total", endpoint="chat_completions") == 2_048
    assert bench.value("response_bytes_total", endpoint="chat_completions") == 4_096
    for name, seconds in {
        "request_duration": 3.5,
        "time_to_first_token": 1.0,
        "time_per_output_token": 0.5,
        "queue_duration": 0.25,
    }.items():
        assert bench.value(f"{name}_seconds_count", **KIND) == 1, name
        assert bench.value(f"{name}_seconds_sum", **KIND) == seconds, name
    assert bench.value("time_to_first_token_seconds_bucket", **KIND, le="0.75") == 0
    assert bench.value("time_to_first_token_seconds_bucket", **KIND, le="1.0") == 1


def test_a_failed_request_is_counted_and_not_timed(bench: Bench) -> None:
    bench.finish(a_record(outcome=Outcome.FAILED_BACKEND_TIMEOUT, status=504, first_token=None))
    labels = {**KIND, "tenant": "team-a", "outcome": "failed_backend_timeout"}
    assert bench.value("requests_total", **labels) == 1
    assert bench.value("request_duration_seconds_count", **KIND) is None
    assert bench.value("time_to_first_token_seconds_count", **KIND) == 0
    assert bench.value("queue_duration_seconds_count", **KIND) == 1


def test_nonsense_from_a_backend_leaves_counters_alone(bench: Bench) -> None:
    bench.finish(a_record(prompt_tokens=-5, output_tokens=None, cached_tokens=10**400))
    assert bench.value("prompt_tokens_total", **PAYER) == 0
    assert bench.value("output_tokens_total", **PAYER) == 0
    assert bench.value("cached_tokens_total", **PAYER) == 0
    assert b"output_tokens_total" in bench.metrics.render(None)[0]


def test_every_outcome_has_its_label(bench: Bench) -> None:
    for outcome in Outcome:
        bench.finish(a_record(outcome=outcome))
    for outcome in Outcome:
        labels = {**KIND, "tenant": "team-a", "outcome": outcome.value}
        assert bench.value("requests_total", **labels) == 1


def test_refused_requests_cannot_invent_models(bench: Bench) -> None:
    for number in range(50):
        bench.finish(a_refusal(model=f"invented-{number}"))
    labels = {"endpoint": "chat_completions", "tenant": "team-a", "outcome": "rejected_invalid"}
    assert bench.value("requests_total", **labels, model="other") == 50
    assert b"invented" not in bench.metrics.render(None)[0]


def test_a_request_that_nobody_could_read_is_counted(bench: Bench) -> None:
    bench.finish(a_refusal(model="", tenant="", endpoint=None))
    labels = dict.fromkeys(("endpoint", "model", "tenant"), "unknown")
    assert bench.value("requests_total", **labels, outcome="rejected_invalid") == 1


def test_models_and_tenants_are_capped() -> None:
    bench = Bench(max_label_values=3)
    for number in range(100):
        bench.finish(a_record(model=f"m{number}", tenant=f"t{number}"))
    families = {family.name: family for family in bench.registry.collect()}
    samples = families["alise_gateway_requests"].samples
    assert {sample.labels["model"] for sample in samples} == {"m0", "m1", "m2", "other"}
    assert {sample.labels["tenant"] for sample in samples} == {"t0", "t1", "t2", "other"}
    assert sum(sample.value for sample in samples) == 100


def test_pairs_of_model_and_tenant_are_capped() -> None:
    bench = Bench(max_label_values=12)
    for model in range(12):
        for tenant in range(12):
            bench.finish(a_record(model=f"m{model}", tenant=f"t{tenant}"))
    families = {family.name: family for family in bench.registry.collect()}
    samples = families["alise_gateway_requests"].samples
    assert len(samples) == 12 * 10 + 2  # two models have pairs beyond the cap
    assert sum(sample.value for sample in samples) == 144
    assert sum(sample.value for sample in samples if sample.labels["tenant"] == "other") == 24


def test_backend_events_are_counted_from_zero_and_forgotten(bench: Bench) -> None:
    bench.metrics.add_backend("b1")
    assert bench.value("retries_total", backend="b1", reason="connect") == 0
    assert bench.value("probes_total", backend="b1", result="healthy") == 0
    bench.metrics.retried("b1", FailureKind.CONNECT)
    bench.metrics.backend_failed("b1", FailureKind.LOST_MIDSTREAM)
    bench.metrics.breaker_moved("b1", BreakerState.OPEN)
    bench.metrics.probed("b1", ProbeState.UNHEALTHY)
    bench.metrics.probed("b2", ProbeState.HEALTHY)
    bench.metrics.scraped("b1", ScrapeResult.ABSENT)
    assert bench.value("retries_total", backend="b1", reason="connect") == 1
    assert bench.value("backend_failures_total", backend="b1", kind="lost_midstream") == 1
    assert bench.value("breaker_transitions_total", backend="b1", state="open") == 1
    assert bench.value("probes_total", backend="b1", result="unhealthy") == 1
    assert bench.value("scrapes_total", backend="b1", result="absent") == 1
    assert bench.value("scrapes_total", backend="b1", result="read") == 0
    bench.metrics.forget_backend("b1")
    body = bench.metrics.render(None)[0]
    assert b'backend="b1"' not in body
    assert b'backend="b2"' in body


def test_drops_are_counted_from_zero_by_class_and_reason(bench: Bench) -> None:
    bench.metrics.dropped(ServiceClass.FLEX, DropReason.SHED)
    assert bench.value("drops_total", service_class="flex", reason="shed") == 1
    for service_class in ServiceClass:
        for reason in DropReason:
            assert bench.value("drops_total", service_class=service_class, reason=reason) in {0, 1}


def test_process_wide_counters_start_at_zero(bench: Bench) -> None:
    assert bench.value("log_lines_dropped_total") == 0
    assert bench.value("config_reloads_total", source="keys", result="failure") == 0
    bench.metrics.log_lines_dropped(7)
    bench.metrics.config_reloaded(ConfigSource.KEYS, Success.FAILURE)
    assert bench.value("log_lines_dropped_total") == 7
    assert bench.value("config_reloads_total", source="keys", result="failure") == 1


def test_gauges_are_read_at_every_scrape(bench: Bench) -> None:
    snapshots = [
        GaugeSnapshot(
            in_flight={"b1": 3},
            upstream={"b1": UpstreamConnections(idle=1, busy=3, connecting=2)},
            loads={"b1": BackendLoad(8_000, "auto", 0.5, engine_waiting=2, figures_stale=False)},
            backends={BackendState.READY: 1},
            waiting={"default": 5, "flex": 0},
            demand={
                "org/model": KvDemand(700.0, 900.5, 400.0, 450.0),
                "invented": KvDemand(1.0, 2.0, 1.0, 1.0),
            },
            client_connections=8,
        ),
        GaugeSnapshot(waiting={"default": 6}, draining=True),
    ]
    bench.metrics.bind_gauges(lambda: snapshots[0])
    bench.finish(a_record())
    assert bench.value("in_flight_requests", backend="b1") == 3
    assert bench.value("upstream_connections", backend="b1", state="connecting") == 2
    assert bench.value("backend_kv_capacity_tokens", backend="b1") == 8_000
    assert bench.value("backend_kv_used_ratio", backend="b1") == 0.5
    assert bench.value("backend_kv_predicted_peak_ratio", backend="b1") is None
    assert bench.value("backend_engine_waiting_requests", backend="b1") == 2
    assert bench.value("backend_figures_stale", backend="b1") == 0
    assert bench.value("backends", state="ready") == 1
    assert bench.value("backends", state="breaker_open") == 0
    assert bench.value("waiting_requests", service_class="default") == 5
    assert bench.value("waiting_requests", service_class="flex") == 0
    assert bench.value("predicted_kv_demand_tokens", model="org/model", quantile="0.5") == 700
    assert bench.value("predicted_kv_demand_tokens", model="org/model", quantile="0.9") == 900.5
    assert bench.value("predicted_kv_peak_tokens", model="org/model", quantile="0.5") == 400
    assert bench.value("predicted_kv_peak_tokens", model="org/model", quantile="0.9") == 450
    assert b"invented" not in bench.metrics.render(None)[0]
    assert bench.value("client_connections") == 8
    assert bench.value("draining") == 0
    del snapshots[0]
    assert bench.value("waiting_requests", service_class="default") == 6
    assert bench.value("draining") == 1
    assert bench.value("in_flight_requests", backend="b1") is None


def test_build_and_process_are_described(bench: Bench) -> None:
    text = bench.metrics.render(None)[0].decode()
    assert "alise_gateway_build_info{python=" in text
    assert "process_resident_memory_bytes" in text


PROMETHEUS_OFFER = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


def test_scrapers_that_offer_openmetrics_get_it(bench: Bench) -> None:
    bench.finish(a_record(tenant='quo"te\\back\nline'))
    body, content_type = bench.metrics.render(PROMETHEUS_OFFER)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
    families = {family.name: family for family in parse_openmetrics(body.decode())}  # type: ignore[no-untyped-call]
    (sample,) = families["alise_gateway_requests"].samples
    assert sample.labels["tenant"] == 'quo"te\\back\nline'
    assert families["alise_gateway_build"].type == "info"


@pytest.mark.parametrize(
    "accept",
    [None, "", "*/*", "text/plain", "application/openmetrics-text;version=0.0.1", "nonsense;;=,"],
)
def test_everybody_else_gets_text(bench: Bench, accept: str | None) -> None:
    bench.finish(a_record())
    body, content_type = bench.metrics.render(accept)
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    names = {family.name for family in parse_text(body.decode())}
    assert "alise_gateway_time_to_first_token_seconds" in names
