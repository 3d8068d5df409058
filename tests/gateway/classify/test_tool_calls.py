"""Tools are timed from the requests around their calls, in each API's shape, and never for sure."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_gateway.classify.tool_calls import (
    PRIOR_PAUSE_SECONDS,
    PRIOR_RETURN_TOKENS,
    ToolCalls,
    ToolTurn,
)
from alise_gateway.domain.content import ContentFields

_fields = msgspec.json.Decoder(ContentFields).decode
Body = dict[str, Any]
Messages = list[dict[str, Any]]
RESULT_BYTES = 4_000


def content(body: Body) -> ContentFields:
    return _fields(json.dumps(body).encode())


class Agent:
    """A client that calls a tool at every turn, in one API's shape."""

    name = ""
    call: Messages
    result: Messages
    tools: list[dict[str, Any]]
    field = "messages"

    def __init__(self, tool: str = "search", size: int = RESULT_BYTES) -> None:
        self.messages: Messages = [{"role": "user", "content": "Find it."}]
        self.number = 0
        self.tool = tool
        self.text = "r" * size

    def body(self) -> Body:
        return {"tools": self.offered(), self.field: self.messages}

    def offered(self) -> list[dict[str, Any]]:
        return [{"type": "function", "function": {"name": self.tool, "parameters": {}}}]

    def turn(self) -> None:
        """The answer called the tool, and the tool has returned."""
        self.number += 1
        self.messages = self.messages + self.called(f"call-{self.number}")

    def called(self, call: str) -> Messages:
        function = {"name": self.tool, "arguments": "{}"}
        return [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": call, "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": call, "content": self.text},
        ]


class Legacy(Agent):
    def body(self) -> Body:
        return {"functions": self.offered(), "messages": self.messages}

    def offered(self) -> list[dict[str, Any]]:
        return [{"name": self.tool, "parameters": {}}]

    def called(self, call: str) -> Messages:
        function = {"name": self.tool, "arguments": "{}"}
        return [
            {"role": "assistant", "content": None, "function_call": function},
            {"role": "function", "name": self.tool, "content": self.text},
        ]


class Anthropic(Agent):
    """Marks its last message for the prompt cache, as agents do."""

    def body(self) -> Body:
        *before, last = self.messages
        blocks = last["content"]
        if isinstance(blocks, str):
            blocks = [{"type": "text", "text": blocks}]
            before = [*before]
        marked = [*blocks[:-1], blocks[-1] | {"cache_control": {"type": "ephemeral"}}]
        return {"tools": self.offered(), "messages": [*before, last | {"content": marked}]}

    def offered(self) -> list[dict[str, Any]]:
        return [{"name": self.tool, "input_schema": {"type": "object"}}]

    def __init__(self, tool: str = "search", size: int = RESULT_BYTES) -> None:
        super().__init__(tool, size)
        self.messages = [{"role": "user", "content": [{"type": "text", "text": "Find it."}]}]

    def called(self, call: str) -> Messages:
        use = {"type": "tool_use", "id": call, "name": self.tool, "input": {"q": "x"}}
        result = {"type": "tool_result", "tool_use_id": call, "content": self.text}
        return [
            {"role": "assistant", "content": [{"type": "text", "text": "I look."}, use]},
            {"role": "user", "content": [result]},
        ]


class Responses(Agent):
    field = "input"

    def offered(self) -> list[dict[str, Any]]:
        return [{"type": "function", "name": self.tool, "parameters": {}}]

    def called(self, call: str) -> Messages:
        return [
            {"type": "reasoning", "id": f"rs-{call}", "summary": []},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text"}]},
            {"type": "function_call", "call_id": call, "name": self.tool, "arguments": "{}"},
            {"type": "function_call_output", "call_id": call, "output": self.text},
        ]


SHAPES = [Agent, Legacy, Anthropic, Responses]


def run(tools: ToolCalls, agent: Agent, pauses: list[float], tenant: str = "t") -> ToolTurn:
    """One conversation; every answer takes two seconds. Returns: What its last request was told."""
    now = 100.0
    turn = tools.arrived(content(agent.body()), tenant, "m", now)
    for pause in pauses:
        assert turn is not None
        tools.finished(turn, now + 2)
        now += 2 + pause
        agent.turn()
        turn = tools.arrived(content(agent.body()), tenant, "m", now)
    assert turn is not None
    return turn


@pytest.mark.parametrize("shape", SHAPES)
def test_a_tool_is_timed_from_the_answer_s_end_to_the_result(shape: type[Agent]) -> None:
    tools = ToolCalls()
    first = tools.arrived(content(shape().body()), "t", "m", 0)
    assert first is not None
    assert not first.use.continues
    assert first.use.pause_seconds == PRIOR_PAUSE_SECONDS
    assert first.use.return_tokens == PRIOR_RETURN_TOKENS
    last = run(tools, shape(), [30, 40, 50])
    assert last.use.continues
    assert last.use.pause_seconds == pytest.approx(40)
    assert last.use.return_tokens == pytest.approx(RESULT_BYTES / 4, rel=0.05)
    assert 40 < last.returns_within_seconds < 200


@pytest.mark.parametrize("shape", SHAPES)
def test_a_tool_that_hung_once_is_not_slow(shape: type[Agent]) -> None:
    last = run(ToolCalls(), shape(), [1, 1, 1, 2_000, 1])
    assert last.use.pause_seconds == pytest.approx(1)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_tool_has_figures_of_its_own_and_tenants_share_none(shape: type[Agent]) -> None:
    tools = ToolCalls()
    run(tools, shape("search", 400), [1] * 5)
    run(tools, shape("compile", 40_000), [60] * 5)
    search, compile_, unknown = (
        tools.arrived(content(shape(name).body()), "t", "m", 0)
        for name in ("search", "compile", "unknown")
    )
    assert search is not None
    assert compile_ is not None
    assert unknown is not None
    assert search.use.pause_seconds == pytest.approx(1)
    assert compile_.use.pause_seconds == pytest.approx(60)
    assert search.use.return_tokens < 200
    assert compile_.use.return_tokens > 9_000
    # Of an unknown tool the tenant's others tell more than nothing.
    assert 1 < unknown.use.pause_seconds < 60
    stranger = tools.arrived(content(shape().body()), "u", "m", 0)
    assert stranger is not None
    assert stranger.use.pause_seconds == PRIOR_PAUSE_SECONDS


def test_of_several_tools_the_one_called_more_often_counts_more() -> None:
    tools = ToolCalls()
    run(tools, Agent("search"), [1] * 9)
    run(tools, Agent("compile"), [61] * 3)
    body = Agent("search").body()
    body["tools"] += Agent("compile").offered()
    turn = tools.arrived(content(body), "t", "m", 0)
    assert turn is not None
    assert turn.use.pause_seconds == pytest.approx(16)
    assert turn.returns_within_seconds > 61


def test_tools_called_together_count_for_the_tenant_only() -> None:
    tools = ToolCalls()
    turn: ToolTurn | None = None
    for number in range(3):
        asked: Messages = [{"role": "user", "content": f"question {number}"}]
        turn = tools.arrived(content({"tools": [], "messages": asked}), "t", "m", 0)
        assert turn is not None
        tools.finished(turn, 10)
        calls = [{"function": {"name": name}} for name in ("search", "compile")]
        results = [{"role": "tool", "content": name} for name in ("search", "compile")]
        answered = [*asked, {"role": "assistant", "tool_calls": calls}, *results]
        turn = tools.arrived(content({"tools": [], "messages": answered}), "t", "m", 17)
    assert turn is not None
    assert turn.use.pause_seconds == pytest.approx(7)
    assert tools.tool_count == 0


def test_a_result_counts_where_no_tools_are_offered() -> None:
    agent = Agent()
    agent.turn()
    turn = ToolCalls().arrived(content({"messages": agent.messages}), "t", "m", 0)
    assert turn is not None
    assert turn.use.continues


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": [{"role": "user", "content": "hi"}]},
        {"messages": [{"role": "user", "content": 'the "tool" and a tool_result'}]},
        {"messages": [{"role": "user", "content": "x"}], "tools": None},
        {"prompt": "tool_result"},
        {"input": "hi"},
    ],
)
def test_a_request_without_tools_is_no_turn(body: Body) -> None:
    assert ToolCalls().arrived(content(body), "t", "m", 0) is None


def test_a_question_after_the_result_does_not_bring_it() -> None:
    agent = Agent()
    agent.turn()
    agent.messages.append({"role": "user", "content": "go on"})
    turn = ToolCalls().arrived(content(agent.body()), "t", "m", 0)
    assert turn is not None
    assert not turn.use.continues


@pytest.mark.parametrize("pause", [-50.0, 100_000.0])
def test_a_pause_that_cannot_be_is_not_learned(pause: float) -> None:
    last = run(ToolCalls(), Agent(), [pause] * 5)
    assert last.use.pause_seconds == PRIOR_PAUSE_SECONDS
    assert last.use.return_tokens == pytest.approx(RESULT_BYTES / 4, rel=0.05)


def test_a_result_that_is_sent_again_is_timed_once() -> None:
    tools, agent = ToolCalls(), Agent()
    turn = tools.arrived(content(agent.body()), "t", "m", 0)
    assert turn is not None
    tools.finished(turn, 0)
    assert tools.open_count == 1
    agent.turn()
    for now in (5, 500):
        tools.arrived(content(agent.body()), "t", "m", now)
    assert tools.open_count == 0


def test_other_conversations_of_the_same_length_are_not_mixed_up() -> None:
    tools = ToolCalls()
    first, second = Agent(), Agent()
    second.messages[0]["content"] = "Find another."
    for agent, ended in ((first, 10.0), (second, 90.0)):
        turn = tools.arrived(content(agent.body()), "t", "m", 0)
        assert turn is not None
        tools.finished(turn, ended)
    first.turn()
    assert tools.open_count == 2
    tools.arrived(content(first.body()), "t", "m", 100)
    tools.arrived(content(first.body()), "u", "m", 100)
    assert tools.open_count == 1


def test_long_messages_are_told_apart_by_their_ends() -> None:
    tools = ToolCalls()
    keys = set()
    for head, tail in (("a", "b"), ("a", "c"), ("d", "b")):
        text = head + "x" * 50_000 + tail
        body = {"tools": [], "messages": [{"role": "user", "content": text}]}
        turn = tools.arrived(content(body), "t", "m", 0)
        assert turn is not None
        keys.add(turn.key)
    assert len(keys) == 3


@pytest.mark.parametrize(
    "messages",
    [[{"role": "user", "content": "x" * 3_000_000}], [{}] * 60_000],
    ids=["bytes", "items"],
)
def test_what_takes_long_to_read_is_not_read(messages: Messages) -> None:
    tools = ToolCalls()
    turn = tools.arrived(content({"tools": [], "messages": messages}), "t", "m", 0)
    assert turn is not None
    assert turn.key is None
    tools.finished(turn, 0)
    assert tools.open_count == 0


def test_memory_has_a_bound() -> None:
    tools = ToolCalls(max_open=3, max_tools=2, max_tenants=2)
    for number in range(8):
        run(tools, Agent(f"tool-{number}"), [1] * 4, tenant=f"tenant-{number}")
        turn = tools.arrived(content(Agent().body()), f"tenant-{number}", "m", 0)
        assert turn is not None
        tools.finished(turn, 0)
    assert tools.open_count == 3
    assert tools.tool_count == 2


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
_part = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "tool", "function"]) | _json,
        "type": st.sampled_from(["function_call", "function_call_output", "reasoning"]) | _json,
        "content": st.just([{"type": "tool_result"}]) | _json,
        "tool_calls": st.just([{"function": {"name": "search"}}]) | _json,
        "function_call": _json,
        "name": st.just("search") | _json,
    },
)
_bodies = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.lists(_part | _json, max_size=6) | _json,
        "input": st.lists(_part, max_size=6) | _json,
        "tools": _json | st.just([{"name": "search"}]),
        "functions": _json,
    },
)


@pytest.mark.slow
@given(st.lists(st.tuples(_bodies, st.floats(-1e6, 1e6)), max_size=6))
def test_whatever_comes_expectations_stay_sane(requests: list[tuple[Body, float]]) -> None:
    tools = ToolCalls(max_open=4, max_tools=2, max_tenants=1)
    for body, now in requests:
        turn = tools.arrived(content(body), "t", "m", now)
        if turn is None:
            continue
        assert 0 < turn.use.pause_seconds <= 3_600
        assert 0 < turn.use.return_tokens < 1e6
        assert turn.returns_within_seconds > turn.use.pause_seconds
        tools.finished(turn, now)
        assert tools.open_count <= 4


@pytest.mark.slow
@given(st.lists(st.floats(0.01, 3_000), min_size=3, max_size=12))
def test_what_is_expected_lies_among_what_was_seen(pauses: list[float]) -> None:
    last = run(ToolCalls(), Agent(size=10), pauses)
    assert min(pauses) * 0.999 <= last.use.pause_seconds <= max(pauses) * 1.001
