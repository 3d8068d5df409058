"""Which answer of a running batch ends when; pure.

vLLM tells its batch as changes: rows that were left, filled and moved. It does not tell a
request that was preempted and comes back from a new one, and the difference matters where a
prompt has several recorded lengths: what comes back must keep its own.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alise_vllm.lengths import LengthTable, prompt_key

PARKED = 1_024
"""Answers that left the batch unfinished and may come back. The aborted among them never do and
vLLM does not say which those are, so the oldest are forgotten; no engine preempts so many."""
UNKNOWN = -1
"""What vLLM writes for a token that is sampled but not yet known to the processor.
Source: vLLM 0.32, ``update_async_output_token_ids`` of ``v1/worker/gpu_input_batch.py``."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that may be replayed.

    Attributes:
        prompt: Its token ids; the same object for as long as the request lives.
        output: The ids generated so far; vLLM appends to it.
        end_token: The token that ends an answer with ``finish_reason`` "stop".
        stop_tokens: All tokens that would end it, ``end_token`` among them.
        min_tokens: No answer is ended before, whatever was recorded.
        max_tokens: vLLM cuts the answer here; None is no limit.
    """

    prompt: Sequence[int]
    output: Sequence[int]
    end_token: int
    stop_tokens: frozenset[int]
    min_tokens: int = 0
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    """A request that is replayed, and the tokens its answer gets; at least 1."""

    asked: Asked
    length: int

    @property
    def ends_now(self) -> bool:
        """Whether the token to be sampled is its last."""
        return len(self.asked.output) >= self.length - 1

    @property
    def finished(self) -> bool:
        generated, limit = len(self.asked.output), self.asked.max_tokens
        return generated >= self.length or (limit is not None and generated >= limit)

    def resumes_as(self, asked: Asked) -> bool:
        """Whether ``asked`` is this request, come back.

        The choices of one request may share a prompt; what they said so far tells them apart.
        vLLM hands over another list of output after a preemption when it schedules
        asynchronously. Source: vLLM 0.32, ``_update_states`` of ``v1/worker/gpu_model_runner.py``.
        """
        before, now = self.asked.output, asked.output
        if self.asked.prompt is not asked.prompt:
            return False
        if before is now:
            return True
        same = all(old in (new, UNKNOWN) for old, new in zip(before, now, strict=False))
        return bool(before) and bool(now) and same


class ReplayBatch:
    """The rows of the running batch whose answers get a recorded length.

    Requests whose prompt is not in the table have no part in it.
    """

    def __init__(self, table: LengthTable) -> None:
        self._table = table
        self._rows: dict[int, _Answer] = {}
        self._parked: deque[_Answer] = deque(maxlen=PARKED)

    def update(
        self,
        removed: Iterable[int],
        added: Sequence[tuple[int, Asked | None]],
        moved: Iterable[tuple[int, int, bool]],
    ) -> None:
        """Follow one change of the batch.

        Args:
            removed: Rows that were left. A row that was left and filled again is in ``added``
                alone.
            added: Rows that were filled, with what is asked there; None runs as it likes.
            moved: From, to, and whether the two change places; otherwise what was in the row
                moved to has left. Applied after everything else, in order.
        """
        # All leave before any enters: a request may have left one row and entered another.
        for row in [*removed, *(row for row, _ in added)]:
            self._park(row)
        for row, asked in added:
            answer = None if asked is None else self._enter(asked)
            if answer is not None:
                self._rows[row] = answer
        for source, target, swap in moved:
            self._move(source, target, swap=swap)

    def ending(self) -> list[tuple[int, int]]:
        """Rows that sample their last token, with the token that it has to be."""
        return [
            (row, answer.asked.end_token) for row, answer in self._rows.items() if answer.ends_now
        ]

    def barred(self) -> list[tuple[int, int]]:
        """Rows that go on, with each token that would end them."""
        return [
            (row, token)
            for row, answer in self._rows.items()
            if not answer.ends_now
            for token in answer.asked.stop_tokens
        ]

    def _enter(self, asked: Asked) -> _Answer | None:
        for position, parked in enumerate(self._parked):
            if parked.resumes_as(asked):
                del self._parked[position]
                return _Answer(asked, parked.length)
        recorded = self._table.take(prompt_key(asked.prompt))
        return None if recorded is None else _Answer(asked, max(recorded, asked.min_tokens))

    def _park(self, row: int) -> None:
        answer = self._rows.pop(row, None)
        if answer is not None and not answer.finished:
            self._parked.append(answer)

    def _move(self, source: int, target: int, *, swap: bool) -> None:
        arriving = self._rows.pop(source, None)
        if swap and target in self._rows:
            self._rows[source] = self._rows.pop(target)
        self._park(target)
        if arriving is not None:
            self._rows[target] = arriving
