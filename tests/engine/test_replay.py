"""The adapter against vLLM's interface in miniature; ``e2e/vllm`` has the real one."""

import enum
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from alise_core.errors import ConfigError
from alise_vllm.lengths import RecordedLength, prompt_key

MODULE = "alise_vllm.replay"
INTERFACE = "vllm.v1.sample.logits_processor"
END, OTHER_END, VOCABULARY = 2, 4, 6
PROMPT = [1, 2, 3]
BARRED = float("-inf")


class Direction(enum.Enum):
    UNIDIRECTIONAL = enum.auto()
    SWAP = enum.auto()


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    interface: Any = ModuleType(INTERFACE)
    interface.LogitsProcessor = type("LogitsProcessor", (), {})
    interface.BatchUpdate = SimpleNamespace
    interface.MoveDirectionality = Direction
    names = INTERFACE.split(".")
    for depth in range(1, len(names)):
        name = ".".join(names[:depth])
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, INTERFACE, interface)
    yield importlib.import_module(MODULE)
    del sys.modules[MODULE]


@pytest.fixture
def processor(replay: Any, tmp_path: Path) -> Any:
    path = tmp_path / "lengths.jsonl"
    path.write_text(RecordedLength(prompt_key(PROMPT), 2).line(), encoding="utf-8")
    config = SimpleNamespace(additional_config={"alise": {"replay_file": str(path)}})
    return replay.ReplayLengths(config, "cpu", is_pin_memory=False)


def params(**fields: Any) -> SimpleNamespace:
    """Sampling parameters as vLLM fills them in."""
    usual = {
        "eos_token_id": END,
        "all_stop_token_ids": {END, OTHER_END},
        "structured_outputs": None,
        "min_tokens": 0,
        "max_tokens": 100,
    }
    return SimpleNamespace(**{**usual, **fields})


def change(processor: Any, removed: Any = (), added: Any = (), moved: Any = ()) -> None:
    processor.update_state(SimpleNamespace(removed=removed, added=added, moved=moved))


def applied(processor: Any, rows: int = 2) -> list[list[float]]:
    logits = np.ones((rows, VOCABULARY))
    assert processor.apply(logits) is logits
    found: list[list[float]] = logits.tolist()
    return found


NATURAL = [1.0] * VOCABULARY
GOING_ON = [1, 1, BARRED, 1, BARRED, 1]
ENDING = [BARRED, BARRED, 0, BARRED, BARRED, BARRED]


def test_ends_are_barred_and_then_forced_in_the_row_of_the_request(processor: Any) -> None:
    output: list[int] = []
    change(processor, added=[(1, params(), PROMPT, output)])
    assert applied(processor) == [NATURAL, GOING_ON]

    output.append(3)
    processor.update_state(None)
    assert applied(processor) == [NATURAL, ENDING]

    change(processor, moved=[(1, 0, Direction.UNIDIRECTIONAL)])
    assert applied(processor) == [ENDING, NATURAL]

    change(processor, removed=[0])
    assert applied(processor) == [NATURAL, NATURAL]


def test_requests_in_one_batch_are_apart(processor: Any) -> None:
    change(processor, added=[(0, params(), PROMPT, []), (1, params(), PROMPT, [3])])
    assert applied(processor, 3) == [GOING_ON, ENDING, NATURAL]

    change(processor, moved=[(0, 1, Direction.SWAP)])
    assert applied(processor, 3) == [ENDING, GOING_ON, NATURAL]


@pytest.mark.parametrize(
    "request_",
    [
        (params(eos_token_id=None), PROMPT, []),
        (params(structured_outputs=object()), PROMPT, []),
        (params(), None, []),
        (params(), [9], []),
    ],
)
def test_what_cannot_be_replayed_runs_as_it_likes(processor: Any, request_: Any) -> None:
    change(processor, added=[(0, *request_)])

    assert applied(processor) == [NATURAL, NATURAL]


def test_limits_of_the_client_are_handed_on(processor: Any) -> None:
    change(processor, added=[(0, params(min_tokens=9), PROMPT, [3])])

    assert applied(processor) == [GOING_ON, NATURAL]


def test_greedy_sampling_sees_it(processor: Any) -> None:
    assert not processor.is_argmax_invariant()


def test_a_server_without_a_file_does_not_start(replay: Any) -> None:
    with pytest.raises(ConfigError, match="additional-config"):
        replay.ReplayLengths(SimpleNamespace(additional_config={}), "cpu", is_pin_memory=False)


def test_without_a_vllm_that_has_the_interface_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)

    with pytest.raises(ConfigError, match=r"runs inside vLLM .* vLLM 0\.32") as caught:
        importlib.import_module(MODULE)

    assert "\n" not in str(caught.value)
