"""Draining against a naive model."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from alise_vllm.control.draining import Closed, Draining, makes_work


class DrainingMachine(RuleBasedStateMachine):
    """What was let in goes on; nothing is let in while closed; a shutdown is for good."""

    def __init__(self) -> None:
        super().__init__()
        self.draining = Draining()
        self.drained = False
        self.ended = False
        self.inside = 0
        self.turned_away = 0

    @rule()
    def drain(self) -> None:
        self.draining.drain()
        self.drained = True

    @rule()
    def undrain(self) -> None:
        assert self.draining.undrain() is not self.ended
        self.drained = False

    @rule(really=st.integers(0, 9).map(lambda draw: draw == 0))
    def shut_down(self, really: bool) -> None:
        if really:
            self.draining.shut_down()
            self.ended = True

    @rule()
    def arrive(self) -> None:
        let_in = self.draining.enter()
        assert let_in is not (self.drained or self.ended)
        self.inside += let_in
        self.turned_away += not let_in

    @precondition(lambda self: self.inside)
    @rule()
    def finish(self) -> None:
        self.inside -= 1
        assert self.draining.leave() is ((self.drained or self.ended) and not self.inside)

    @invariant()
    def agrees(self) -> None:
        draining = self.draining
        assert (draining.in_progress, draining.refused) == (self.inside, self.turned_away)
        assert (draining.closed is None) is not (self.drained or self.ended)
        assert (draining.closed is Closed.SHUTTING_DOWN) is self.ended
        assert draining.is_drained is (draining.closed is not None and not self.inside)


TestDraining = DrainingMachine.TestCase


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/chat/completions", True),
        ("POST", "/v1/responses", True),
        ("POST", "/v1/something/new", True),
        ("POST", "/inference/v1/generate", True),
        ("POST", "/invocations", True),
        ("POST", "/pooling", True),
        ("WEBSOCKET", "/v1/realtime", True),
        ("GET", "/v1/models", False),
        ("GET", "/v1/responses/abc", False),
        ("POST", "/v1/responses/abc/cancel", False),
        ("POST", "/inference/v1/abort_requests", False),
        ("POST", "/v1/load_lora_adapter", False),
        ("POST", "/v1/messages/count_tokens", False),
        ("POST", "/tokenize", False),
        ("POST", "/alise/tune", False),
        ("POST", "/resume", False),
        ("GET", "/metrics", False),
    ],
)
def test_only_what_makes_work_is_held_back(method: str, path: str, expected: bool) -> None:
    assert makes_work(method, path) is expected
