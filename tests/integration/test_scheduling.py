"""Which request is next, on which backend, and what engines and clients are told of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from alise_bench.sim.faults import Fault, FaultKind
from alise_core.outcome import Outcome
from alise_core.service_class import ServiceClass
from alise_gateway.identity.keys import create_key
from alise_gateway.queueing.fair_share import Flow
from alise_gateway.tickets import TicketOffice
from fakes.clock import FakeClock
from fakes.engine import RunningEngine, fast_engine, running_engine
from fakes.gateway import RunningGateway, eventually, running_gateway
from fakes.keys import identity, keys_file
from fakes.predictor import bundle, predictor
from fakes.raw_client import chat, post
from fakes.scripted_backend import Received, scripted_backend, whole
from fakes.waiting_line import LENGTHS, ONE_PLACE, asked, in_line, occupied, reply_to, served

VIP, PLAIN, LATE, TRUSTED = (create_key() for _ in range(4))
ANSWER = json.dumps(
    {"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": 9}}
).encode()


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine(lengths=LENGTHS)) as running:
        yield running


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.yaml"
    keys_file(
        path,
        vip=(VIP, {"highest_class": "priority"}),
        plain=(PLAIN, {}),
        late=(LATE, {"default_class": "flex"}),
        trusted=(TRUSTED, {"may_schedule": "true"}),
    )
    return path


# Ordering


@pytest.mark.parametrize(
    ("ordering", "order"),
    [
        ({}, ["short", "long"]),
        ({"ordering": "sjf"}, ["short", "long"]),
        ({"ordering": "fcfs"}, ["long", "short"]),
    ],
    ids=["default", "sjf", "fcfs"],
)
async def test_what_is_predicted_to_be_short_passes_what_came_before(
    engine: RunningEngine, ordering: dict[str, Any], order: list[str]
) -> None:
    async with running_gateway(engine.url, queue=ONE_PLACE, scheduling=ordering) as gateway:
        found = await served(gateway, asked("long", max_tokens=2000), asked("short", max_tokens=8))
        assert found == order


async def test_equals_are_served_as_they_came(engine: RunningEngine) -> None:
    async with running_gateway(engine.url, queue=ONE_PLACE) as gateway:
        names = [f"number-{index}" for index in range(5)]
        assert await served(gateway, *(asked(name) for name in names)) == names


@pytest.mark.slow
async def test_a_hint_makes_a_request_short(
    engine: RunningEngine, keys: Path, tmp_path: Path
) -> None:
    async with running_gateway(
        engine.url,
        queue=ONE_PLACE,
        identity=identity(keys),
        predictor=predictor(bundle(tmp_path / "bundle")),
    ) as gateway:
        requests = [
            asked(
                name,
                key=TRUSTED,
                max_tokens=1_500,
                nvext={"agent_hints": {"osl": tokens}},
            )
            for name, tokens in {"long": 100_000, "short": 1}.items()
        ]
        assert await served(gateway, *requests, key=TRUSTED) == ["short", "long"]


# Classes


async def test_a_better_class_goes_first_for_whom_it_is_allowed(
    engine: RunningEngine, keys: Path
) -> None:
    async with running_gateway(engine.url, queue=ONE_PLACE, identity=identity(keys)) as gateway:
        order = await served(
            gateway,
            asked("late", key=LATE, max_tokens=4),
            asked("wishes", key=PLAIN, service_tier="priority", max_tokens=4),
            asked("vip", key=VIP, service_tier="priority", max_tokens=40),
            key=PLAIN,
        )
        assert order == ["vip", "wishes", "late"]
        lines = {line["request_id"]: line["service_class"] for line in gateway.requests()}
        assert lines == {"first": "default", "late": "flex", "wishes": "default", "vip": "priority"}


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_states_the_class_that_it_had(
    engine: RunningEngine, keys: Path, stream: bool
) -> None:
    async with running_gateway(engine.url, identity=identity(keys)) as gateway:
        for key, tier, shown in (
            (VIP, "priority", "priority"),
            (VIP, None, "default"),
            (PLAIN, "priority", "default"),
            (PLAIN, "flex", "flex"),
            (LATE, "auto", "flex"),
        ):
            stated = {} if tier is None else {"service_tier": tier}
            reply = await reply_to(gateway, asked("one", key=key, stream=stream, **stated))
            assert reply.headers["x-alise-service-class"] == shown
            first = reply.body.split(b"\n\n")[0].removeprefix(b"data: ") if stream else reply.body
            assert tier is None or json.loads(first)["service_tier"] == shown
            gateway.expect(Outcome.COMPLETED, service_class=shown)


async def test_a_tier_that_is_none_is_refused(engine: RunningEngine) -> None:
    async with running_gateway(engine.url) as gateway:
        reply = await reply_to(gateway, asked("one", service_tier="platinum"))
        assert (reply.status, reply.error["code"]) == (400, "invalid_service_tier")
        gateway.expect(Outcome.REJECTED_INVALID, service_class=None)


@pytest.mark.parametrize(
    ("share", "order"),
    [(0.5, ["one", "two", "flex", "three", "four"]), (0, ["one", "two", "three", "four", "flex"])],
)
async def test_flex_trickles_while_better_classes_wait(
    engine: RunningEngine, share: float, order: list[str]
) -> None:
    classes = {"flex": {"trickle_share": share}}
    scheduling = {"classes": classes, "ordering": "fcfs"}
    async with running_gateway(engine.url, queue=ONE_PLACE, scheduling=scheduling) as gateway:
        others = [asked(name) for name in ("one", "two", "three", "four")]
        assert await served(gateway, asked("flex", service_tier="flex"), *others) == order


# What engines are told


async def test_engines_are_told_the_order(keys: Path) -> None:
    free = asyncio.Event()

    async def script(request: Received, writer: asyncio.StreamWriter) -> None:
        if len(backend.received) == 1:
            await free.wait()
        writer.write(whole(ANSWER))

    async with (
        scripted_backend(script) as backend,
        running_gateway(backend.url, queue=ONE_PLACE, identity=identity(keys)) as gateway,
        in_line(gateway) as _,
    ):
        first = asyncio.ensure_future(reply_to(gateway, asked("first", key=PLAIN)))
        await eventually(lambda: backend.received)
        requests = (
            asked("flex", key=PLAIN, service_tier="flex"),
            asked("long", key=PLAIN, max_tokens=2000),
            asked("short", key=PLAIN, max_tokens=8),
            asked("vip", key=VIP, service_tier="priority"),
        )
        async with in_line(gateway, *requests) as clients:
            free.set()
            assert (await first).status == 200
            for client in clients:
                assert (await client.reply()).status == 200
        sent = [
            (seen.values("x-request-id")[0].rpartition("-")[0], seen.values("x-vllm-priority"))
            for seen in backend.received
        ]
        assert [name for name, _ in sent] == ["first", "vip", "short", "long", "flex"]
        ranks = {name: int(*values) for name, values in sent}
        assert ranks["vip"] < 0 < ranks["short"] < ranks["long"] < 2**40 <= ranks["flex"]


async def test_a_request_that_does_not_wait_has_a_rank_too() -> None:
    async def script(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(whole(ANSWER))

    async with scripted_backend(script) as backend, running_gateway(backend.url) as gateway:
        for tokens in (2000, 2000, 8):
            await reply_to(gateway, asked("one", max_tokens=tokens))
        first, second, short = (int(*it.values("x-vllm-priority")) for it in backend.received)
        assert short < first < second


# What is learned


async def test_answers_teach_how_fast_a_backend_is_and_how_long_prompts_are(
    engine: RunningEngine,
) -> None:
    async with running_gateway(engine.url) as gateway:
        backend = gateway.backend(engine.name)
        ratios = gateway.app._parts.tickets._ratios
        assert backend.cost.observations == 0
        before, guess = backend.cost.step_seconds(1), ratios.estimate(engine.model, 4_000)
        for count in range(1, 9):
            await reply_to(gateway, asked("one", content="word " * 400, stream=True, max_tokens=12))
            assert backend.cost.observations == count
        # Half a millisecond a step in truth; an answer of few tokens says little.
        assert backend.cost.step_seconds(1) < 0.8 * before
        line = gateway.expect(Outcome.COMPLETED)
        text = json.dumps(chat("word " * 400)["messages"])
        truth = 4_000 * line["prompt_tokens"] / len(text)
        assert abs(ratios.estimate(engine.model, 4_000) - truth) < abs(guess - truth)


async def test_what_ends_otherwise_teaches_nothing(engine: RunningEngine) -> None:
    async with running_gateway(engine.url) as gateway:
        async with occupied(gateway):
            pass
        engine.faults.arm(Fault(FaultKind.DIE_MIDSTREAM))
        await reply_to(gateway, asked("one", content="long", max_tokens=50, stream=True))
        await gateway.ended(Outcome.FAILED_BACKEND_LOST_MIDSTREAM, count=2)
        assert gateway.backend(engine.name).cost.observations == 0


# Failures


def flow(gateway: RunningGateway, model: str) -> Flow:
    """What the only tenant was given."""
    share = gateway.app.queue._state._pools.of(model)._shares[ServiceClass.DEFAULT]
    (only,) = share._flows.values()
    return only


async def test_a_repeated_request_is_counted_once(engine: RunningEngine) -> None:
    async with (
        running_engine(fast_engine(lengths=LENGTHS)) as other,
        running_gateway(engine.url, other.url) as gateway,
    ):
        for one in (engine, other):
            one.faults.arm(Fault(FaultKind.REFUSE))
        await reply_to(gateway, asked("one"))
        assert sum(len(one.faults.armed()) for one in (engine, other)) < 2
        gateway.app.queue.check()
        lines = gateway.requests()
        real = sum(
            (line["prompt_tokens"] or 0) + 2 * (line["output_tokens"] or 0) for line in lines
        )
        assert flow(gateway, engine.model).counter == pytest.approx(real)
        for one in (engine, other):
            assert len(gateway.backend(one.name).admission.ledger) == 0
        assert gateway.metric("alise_gateway_predicted_kv_demand_tokens") == 0
        one.faults.clear()


@pytest.mark.parametrize("kind", [FaultKind.GARBAGE_HTTP, FaultKind.STATUS])
async def test_what_no_backend_served_is_nobodys_debt(
    engine: RunningEngine, kind: FaultKind
) -> None:
    async with running_gateway(engine.url, upstream={"max_retries": 0}) as gateway:
        engine.faults.arm(Fault(kind, status=400))
        assert (await reply_to(gateway, asked("one"))).status >= 400
        assert flow(gateway, engine.model).counter == 0
        await reply_to(gateway, asked("two"))
        assert flow(gateway, engine.model).counter > 0


async def test_a_defect_on_the_way_to_a_backend_gives_the_place_back(
    engine: RunningEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    async with running_gateway(engine.url, queue=ONE_PLACE) as gateway:
        gateway.expected_exceptions = 1
        with monkeypatch.context() as patched:
            patched.setattr(TicketOffice, "sent", broken)
            assert (await reply_to(gateway, asked("one"))).status == 500
        gateway.app.queue.check()
        assert gateway.app.queue.in_flight == 0
        assert (await reply_to(gateway, asked("two"))).status == 200


# Where


def conversation(kind: str) -> list[bytes]:
    """Four requests, each the next turn of the one before."""
    fields: dict[str, Any] = {"prompt_cache_key": "c-1"} if kind == "key in the body" else {}
    lines = ["x-session-id: c-1"] if kind == "session header" else []
    text = "a long beginning " * 60 if kind in {"beginning", "tool results"} else "hello"
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    if kind == "tool results":
        fields["tools"] = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    messages: list[dict[str, Any]] = [{"role": "user", "content": text}]
    requests = []
    for turn in range(4):
        requests.append(post(chat(**fields, messages=messages), *lines))
        if kind == "tool results":
            messages = [
                *messages,
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c", "content": f"result {turn}"},
            ]
        else:
            messages = [
                *messages,
                {"role": "assistant", "content": "well"},
                {"role": "user", "content": f"and {turn}?"},
            ]
    return requests


@pytest.mark.parametrize("kind", ["session header", "key in the body", "beginning", "tool results"])
async def test_a_conversation_stays_where_it_was(engine: RunningEngine, kind: str) -> None:
    async with (
        running_engine(fast_engine(lengths=LENGTHS)) as other,
        # While time stands still, nothing tells the engines apart but what they have seen.
        running_gateway(engine.url, other.url, clock=FakeClock()) as gateway,
    ):
        strangers = [await reply_to(gateway, asked("stranger")) for _ in range(4)]
        used = [reply.headers["x-alise-backend"] for reply in strangers]
        assert [used.count(one.name) for one in (engine, other)] == [2, 2]
        first, *others = conversation(kind)
        home = (await reply_to(gateway, first)).headers["x-alise-backend"]
        for count, request in enumerate(others):
            for _ in range(count):
                await reply_to(gateway, asked("stranger"))
            assert (await reply_to(gateway, request)).headers["x-alise-backend"] == home


async def test_a_backend_that_nobody_has_used_gets_its_share(engine: RunningEngine) -> None:
    """What has been learned of the others' speed does not speak against it."""
    async with (
        running_engine(fast_engine(lengths=LENGTHS)) as other,
        running_gateway(engine.url, other.url) as gateway,
    ):
        for _ in range(30):
            await reply_to(gateway, asked("one", stream=True))
        used = [line["backend"] for line in gateway.requests()]
        assert min(used.count(one.name) for one in (engine, other)) >= 8
