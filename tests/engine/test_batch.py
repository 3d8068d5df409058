from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alise_vllm import batch
from alise_vllm.batch import Asked, ReplayBatch
from alise_vllm.lengths import LengthTable, RecordedLength, prompt_key

END, OTHER_END = 2, 7
STOPS = frozenset({END, OTHER_END})
WORD = 50


def table(*rows: tuple[list[int], int]) -> LengthTable:
    return LengthTable(RecordedLength(prompt_key(prompt), length) for prompt, length in rows)


def asked(
    prompt: list[int], output: list[int], *, min_tokens: int = 0, max_tokens: int | None = None
) -> Asked:
    return Asked(prompt, output, END, STOPS, min_tokens, max_tokens)


def generated(replay: ReplayBatch, row: int, output: list[int]) -> int:
    """Sample until the end is forced; returns the tokens of the answer."""
    while (row, END) not in replay.ending():
        assert {token for at, token in replay.barred() if at == row} == STOPS
        output.append(WORD)
    assert not [token for at, token in replay.barred() if at == row]
    return len(output) + 1


@pytest.mark.parametrize("length", [1, 2, 9])
def test_an_answer_ends_with_its_recorded_token_and_not_before(length: int) -> None:
    replay, output = ReplayBatch(table(([1], length))), list[int]()
    replay.update([], [(0, asked([1], output))], [])

    assert generated(replay, 0, output) == length


def test_the_end_is_forced_again_for_a_token_that_is_sampled_in_advance() -> None:
    replay, output = ReplayBatch(table(([1], 2))), [WORD, END]
    replay.update([], [(0, asked([1], output))], [])

    assert replay.ending() == [(0, END)]


def test_the_clients_minimum_is_kept() -> None:
    replay, output = ReplayBatch(table(([1], 3))), list[int]()
    replay.update([], [(0, asked([1], output, min_tokens=6))], [])

    assert generated(replay, 0, output) == 6


def test_what_is_not_in_the_table_or_cannot_be_replayed_is_left_alone() -> None:
    replay = ReplayBatch(table(([1], 3)))
    replay.update([], [(0, asked([9], [])), (1, None)], [])

    assert not replay.ending() + replay.barred()


def test_a_row_that_is_filled_again_belongs_to_the_new_request() -> None:
    replay = ReplayBatch(table(([1], 1)))
    replay.update([], [(0, asked([1], []))], [])

    replay.update([], [(0, None)], [])

    assert replay.ending() == []


def test_rows_are_left_moved_and_swapped() -> None:
    replay = ReplayBatch(table(([1], 1), ([2], 5)))
    replay.update([], [(0, asked([1], [])), (3, asked([2], []))], [])

    replay.update([], [], [(0, 3, True)])
    assert replay.ending() == [(3, END)]
    assert {row for row, _ in replay.barred()} == {0}

    replay.update([], [], [(3, 0, False)])
    assert replay.ending() == [(0, END)]
    assert replay.barred() == []

    replay.update([0], [], [])
    assert not replay.ending() + replay.barred()


def test_a_preempted_request_keeps_its_length() -> None:
    replay, prompt, output = ReplayBatch(table(([1], 4), ([1], 9))), [1], [WORD]
    replay.update([], [(0, asked(prompt, output))], [])

    replay.update([0], [], [])
    replay.update([], [(5, asked(prompt, output))], [])

    assert generated(replay, 5, output) == 4


def test_a_preempted_request_that_comes_back_with_another_list_keeps_its_length() -> None:
    replay, prompt = ReplayBatch(table(([1], 4), ([1], 9))), [1]
    replay.update([], [(0, asked(prompt, [WORD, batch.UNKNOWN]))], [])

    replay.update([0], [], [])
    output = [WORD, WORD]
    replay.update([], [(0, asked(prompt, output))], [])

    assert generated(replay, 0, output) == 4


def test_choices_that_come_back_are_told_apart_by_what_they_said() -> None:
    replay, prompt = ReplayBatch(table(([1], 4), ([1], 9))), [1]
    replay.update([], [(0, asked(prompt, [50])), (1, asked(prompt, [51]))], [])

    # In one change, each into the row that the other left.
    first, second = [51], [50]
    replay.update([], [(0, asked(prompt, first)), (1, asked(prompt, second))], [])

    assert generated(replay, 1, second) == 4
    assert generated(replay, 0, first) == 9


def test_a_request_that_is_preempted_before_its_first_token_keeps_its_length() -> None:
    replay, prompt, output = ReplayBatch(table(([1], 4), ([1], 9))), [1], list[int]()
    replay.update([], [(0, asked(prompt, output))], [])

    replay.update([0], [], [])
    replay.update([], [(0, asked(prompt, output))], [])

    assert generated(replay, 0, output) == 4


def test_a_choice_that_said_something_is_not_one_that_said_nothing() -> None:
    replay, prompt = ReplayBatch(table(([1], 4), ([1], 9))), [1]
    replay.update([], [(0, asked(prompt, [])), (1, asked(prompt, [WORD]))], [])
    replay.update([0, 1], [], [])

    output = [WORD]
    replay.update([], [(0, asked(prompt, output))], [])

    assert generated(replay, 0, output) == 9


def test_finished_requests_do_not_push_out_preempted_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch, "PARKED", 1)
    replay, prompt, output = ReplayBatch(table(([1], 4), ([1], 9), ([2], 3))), [1], [WORD]
    replay.update([], [(0, asked(prompt, output)), (1, asked([2], done := [WORD]))], [])
    replay.update([0], [(2, asked([2], cut := [WORD], max_tokens=2))], [])
    done += [WORD, END]
    cut.append(WORD)
    replay.update([2, 1], [], [])

    replay.update([], [(0, asked(prompt, output))], [])

    assert generated(replay, 0, output) == 4


def test_a_finished_request_is_not_taken_for_the_next_of_its_prompt() -> None:
    replay, prompt = ReplayBatch(table(([1], 2), ([1], 9))), [1]
    replay.update([], [(0, asked(prompt, [WORD, END]))], [])
    capped = list[int]()
    replay.update([], [(0, asked(prompt, capped, max_tokens=1))], [])
    capped.append(WORD)

    output = list[int]()
    replay.update([], [(0, asked(prompt, output))], [])

    assert generated(replay, 0, output) == 2


def test_aborted_requests_do_not_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "PARKED", 2)
    prompts = [[number] for number in range(4)]
    replay = ReplayBatch(table(*((prompt, length) for prompt in prompts for length in (3, 8))))
    for prompt in prompts:
        replay.update([], [(0, asked(prompt, [WORD]))], [])
    replay.update([0], [], [])

    lengths = []
    for prompt in prompts:
        output = [WORD]
        replay.update([], [(0, asked(prompt, output))], [])
        lengths.append(generated(replay, 0, output))
        output.append(END)

    # The oldest two are forgotten and take their next row.
    assert lengths == [8, 8, 3, 3]


@dataclass
class Client:
    prompt: list[int]
    output: list[int] = field(default_factory=list)
    row: int | None = None
    done: bool = False


class Engine:
    """Rows as vLLM keeps them: filled lowest first, closed up by moving the last ones down."""

    def __init__(self, replay: ReplayBatch) -> None:
        self.replay = replay
        self.rows: list[Client | None] = []

    def change(self, leaving: list[Client], entering: list[Client]) -> None:
        empty = []
        for client in leaving:
            assert client.row is not None
            empty.append(client.row)
            self.rows[client.row] = None
            client.row = None
        empty.sort()
        added: list[tuple[int, Asked | None]] = []
        for client in entering:
            client.row = empty.pop(0) if empty else len(self.rows)
            self.rows[client.row : client.row + 1] = [client]
            added.append((client.row, asked(client.prompt, client.output)))
        moved = []
        while empty:
            last = max((row for row, client in enumerate(self.rows) if client), default=-1)
            if empty[0] >= last:
                break
            target = empty.pop(0)
            moved.append((last, target, False))
            client_moved = self.rows[last]
            assert client_moved
            self.rows[target], self.rows[last] = client_moved, None
            client_moved.row = target
        while self.rows and self.rows[-1] is None:
            self.rows.pop()
        self.replay.update(sorted(empty, reverse=True), added, moved)

    def step(self) -> list[Client]:
        """Sample one token for each; returns who is done."""
        ending = dict(self.replay.ending())
        for row, client in enumerate(self.rows):
            if client:
                client.output.append(ending.get(row, WORD))
                client.done = row in ending
        return [client for client in self.rows if client and client.done]


@pytest.mark.slow
@settings(max_examples=60)
@given(data=st.data(), lengths=st.lists(st.integers(1, 6), min_size=1, max_size=8))
def test_every_answer_has_a_length_of_its_prompt_whatever_is_preempted(
    data: st.DataObject, lengths: list[int]
) -> None:
    prompts = [[data.draw(st.integers(0, 2))] for _ in lengths]
    engine = Engine(ReplayBatch(table(*zip(prompts, lengths, strict=True))))
    waiting, done = [Client(prompt) for prompt in prompts], list[Client]()
    leaving: list[Client] = []
    while waiting or leaving or any(engine.rows):
        running = [client for client in engine.rows if client and client not in leaving]
        out = [client for client in running if data.draw(st.integers(0, 3)) == 0]
        taken = data.draw(st.integers(0, len(waiting))) if running else len(waiting)
        entering, waiting = waiting[:taken], waiting[taken:] + out
        engine.change(leaving + out, entering)
        leaving = engine.step()
        done += leaving

    expected = Counter((prompt[0], length) for prompt, length in zip(prompts, lengths, strict=True))
    assert Counter((client.prompt[0], len(client.output)) for client in done) == expected
