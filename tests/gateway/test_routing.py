"""From a requested name to a served one: aliases, shares of conversations, fallbacks."""

from collections import Counter
from collections.abc import Mapping

import msgspec
import pytest

from alise_core.errors import InvalidRequest, Rejected, Unauthorized
from alise_core.units import TenantId
from alise_core.wire.openai import Endpoint
from alise_gateway.discovery.registry import BackendRegistry
from alise_gateway.domain.backend import ProbeState, ServedModel
from alise_gateway.domain.request import ANONYMOUS, InferenceRequest, Tenant
from alise_gateway.intake.parse import parse_request
from alise_gateway.routing import route
from alise_gateway.settings import AliasSetting, AliasTarget, BackendSettings, GatewaySettings
from fakes.clock import FakeClock

CANARY = (AliasTarget(model="old", weight=3), AliasTarget(model="new", weight=1))


class Bench:
    """One backend per model, in the order of their names; all healthy."""

    def __init__(
        self,
        *models: str,
        aliases: Mapping[str, AliasSetting] | None = None,
        fallbacks: dict[str, str] | None = None,
    ) -> None:
        settings = GatewaySettings(
            backends=tuple(BackendSettings(url=f"http://{model}:80") for model in models),
            aliases=aliases or {},
            fallbacks=fallbacks or {},
        )
        self.registry = BackendRegistry(settings, FakeClock())
        self.stood_in_for: list[str] = []
        self.last: InferenceRequest | None = None
        for model, backend in zip(models, self.registry.backends, strict=True):
            self.registry.set_models(backend, {model: ServedModel(model, None, 0, "vllm")})
            self.probe(model, ProbeState.HEALTHY)

    def probe(self, model: str, state: ProbeState) -> None:
        (backend,) = self.registry.candidates(model)
        self.registry.set_probe(backend, state, None)

    def down(self, *models: str) -> None:
        for model in models:
            self.probe(model, ProbeState.UNHEALTHY)

    def ask(
        self,
        model: str,
        request_id: bytes = b"",
        *,
        tenant: Tenant = ANONYMOUS,
        session: bytes | None = None,
        **fields: str,
    ) -> str:
        body = msgspec.json.encode({"model": model, "prompt": "hi", **fields})
        self.last = parse_request(Endpoint.COMPLETIONS, body, keep_content=True)
        headers = [] if session is None else [(b"x-session-id", session)]
        return route(
            self.last, tenant, self.registry, headers, request_id, self.stood_in_for.append
        )

    def shares(self, count: int = 400) -> Counter[str]:
        """Who gets requests that have nothing to do with each other."""
        return Counter(self.ask("chat", b"request-%d" % number) for number in range(count))

    @property
    def sent_model(self) -> str:
        assert self.last is not None
        model: str = msgspec.json.decode(self.last.body)["model"]
        return model


def test_a_served_name_travels_as_it_came() -> None:
    bench = Bench("m")
    assert bench.ask("m") == "m"
    assert bench.last is not None
    assert bench.last.body == b'{"model":"m","prompt":"hi"}'


def test_an_alias_is_replaced_in_the_body() -> None:
    bench = Bench("m", aliases={"nick": "m"})
    assert bench.ask("nick") == "m"
    assert bench.sent_model == "m"


def test_what_nobody_serves_is_404_once_somebody_has_said_what_there_is() -> None:
    with pytest.raises(Rejected):
        Bench().ask("m")
    with pytest.raises(InvalidRequest, match="'z' does not exist") as refused:
        Bench("m").ask("z")
    assert refused.value.status == 404


def test_the_tenant_must_be_allowed_the_name_that_it_uses() -> None:
    bench = Bench("m", "x", aliases={"nick": "m"}, fallbacks={"m": "x"})
    tenant = Tenant(TenantId("t"), allowed_models=frozenset({"nick"}))
    assert bench.ask("nick", tenant=tenant) == "m"
    with pytest.raises(Unauthorized):
        bench.ask("m", tenant=tenant)
    bench.down("m")
    assert bench.ask("nick", tenant=tenant) == "x"


def test_requests_are_shared_by_weight() -> None:
    bench = Bench("old", "new", aliases={"chat": CANARY})
    shares = bench.shares()
    assert shares["old"] == pytest.approx(300, abs=40)
    assert shares["old"] + shares["new"] == 400


def test_a_conversation_stays_with_its_model() -> None:
    bench = Bench("old", "new", aliases={"chat": CANARY})

    def side(number: int, request_id: bytes) -> tuple[str, ...]:
        name = f"session-{number}"
        return (
            bench.ask("chat", request_id, session=name.encode()),
            bench.ask("chat", request_id, prompt_cache_key=name),
            bench.ask("chat", request_id, user=name),
        )

    first = [side(number, b"1") for number in range(50)]
    assert [side(number, b"2") for number in range(50)] == first
    assert {model for models in first for model in models} == {"old", "new"}


def test_tenants_with_the_same_names_are_split_apart() -> None:
    bench = Bench("old", "new", aliases={"chat": CANARY})
    names = [f"tenant-{number}" for number in range(50)]
    found = {bench.ask("chat", tenant=Tenant(TenantId(name)), session=b"main") for name in names}
    assert found == {"old", "new"}


def test_a_model_that_is_down_or_gone_leaves_its_share_to_the_others() -> None:
    bench = Bench("old", "new", aliases={"chat": CANARY})
    bench.down("new")
    assert set(bench.shares()) == {"old"}
    bench.probe("new", ProbeState.HEALTHY)
    bench.registry.remove(bench.registry.candidates("old")[0].name)
    assert set(bench.shares()) == {"new"}
    assert bench.sent_model == "new"


def test_a_fallback_answers_while_no_backend_is_usable() -> None:
    bench = Bench("big", "small", aliases={"nick": "big"}, fallbacks={"big": "small"})
    assert bench.ask("big") == "big"
    assert bench.stood_in_for == []
    bench.probe("big", ProbeState.DRAINING)
    assert bench.ask("big") == bench.ask("nick") == bench.sent_model == "small"
    assert bench.stood_in_for == ["big", "big"]
    bench.probe("big", ProbeState.HEALTHY)
    assert bench.ask("nick") == "big"


def test_an_open_breaker_is_reason_enough_and_a_full_backend_is_not() -> None:
    bench = Bench("big", "small", fallbacks={"big": "small"})
    (backend,) = bench.registry.candidates("big")
    backend.in_flight = backend.max_in_flight
    assert bench.ask("big") == "big"
    for _ in range(20):
        backend.breaker.failed(bench.registry.now)
    assert bench.ask("big") == "small"


def test_a_fallback_that_is_down_too_does_not_help() -> None:
    bench = Bench("big", "small", fallbacks={"big": "small"})
    bench.down("big", "small")
    assert bench.ask("big") == "big"
    assert bench.stood_in_for == []


def test_a_model_that_nobody_lists_has_its_fallback() -> None:
    bench = Bench("small", aliases={"nick": "big"}, fallbacks={"big": "small"})
    assert bench.ask("big") == bench.ask("nick") == "small"
    bench.down("small")
    with pytest.raises(InvalidRequest, match="does not exist"):
        bench.ask("big")


def test_the_other_side_of_a_split_comes_before_a_fallback() -> None:
    bench = Bench("old", "new", "spare", aliases={"chat": CANARY}, fallbacks={"new": "spare"})
    bench.down("new")
    assert set(bench.shares(50)) == {"old"}
    bench.down("old")
    assert set(bench.shares(50)) == {"spare"}
    assert set(bench.stood_in_for) == {"new"}


def test_without_content_the_request_is_its_own_conversation() -> None:
    bench = Bench("old", "new", aliases={"chat": CANARY})
    found = set()
    for number in range(50):
        inference = parse_request(Endpoint.COMPLETIONS, b'{"model":"chat","user":"u"}')
        found.add(route(inference, ANONYMOUS, bench.registry, request_id=b"%d" % number))
    assert found == {"old", "new"}
