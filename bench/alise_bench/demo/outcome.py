"""What came of the demo's load: percentiles, tokens, endings, and whether all of it is right."""

from collections.abc import Sequence
from dataclasses import dataclass

from alise_bench.demo.workload import SamplePrompt
from alise_bench.load.distribution import Summary, summarize
from alise_bench.load.result import LoadRun, RequestResult

_MS = 1_000.0


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """The demo's figures.

    Attributes:
        requests: Sent.
        outcomes: How they ended: ``completed`` or the kind of error.
        output_tokens: Counted by the engines, of completed requests.
        wrong_lengths: Completed requests with another number of tokens than recorded.
        wall_seconds: From the first request to the end of the last reply.
        ttft_ms: Time to first token.
        ttlt_ms: Time to last token.
        tpot_ms: Time per output token after the first.
        short_ttft_ms: Time to first token of the requests with the shorter half of the answers.
        long_ttlt_ms: Time to last token of those with the longest tenth of the answers.
        most_waiting: Requests in the gateway's queue, highest of the samples taken; ``None``
            when the gateway's metrics could not be read.
    """

    requests: int
    outcomes: dict[str, int]
    output_tokens: int
    wrong_lengths: int
    wall_seconds: float
    ttft_ms: Summary | None
    ttlt_ms: Summary | None
    tpot_ms: Summary | None
    short_ttft_ms: Summary | None
    long_ttlt_ms: Summary | None
    most_waiting: int | None

    @property
    def tokens_per_second(self) -> float:
        """Output tokens of all requests over the wall time."""
        return self.output_tokens / self.wall_seconds if self.wall_seconds else 0.0

    @property
    def is_right(self) -> bool:
        """Every request completed with the recorded number of tokens."""
        return self.outcomes.get("completed") == self.requests and not self.wrong_lengths


def evaluate(run: LoadRun, rows: Sequence[SamplePrompt], most_waiting: int | None) -> DemoOutcome:
    """Reduce a run.

    Args:
        run: Results whose ``number`` is the position in ``rows``.
        rows: What was sent.
        most_waiting: See :class:`DemoOutcome`.
    """
    good = run.completed()
    lengths = sorted(row.output_tokens for row in rows)
    middle, long = lengths[(len(lengths) - 1) // 2], lengths[int(0.9 * (len(lengths) - 1))]
    wrong = [item for item in good if item.tokens != rows[item.number].output_tokens]
    return DemoOutcome(
        requests=len(rows),
        outcomes={"completed": len(good), **run.errors()},
        output_tokens=sum(item.tokens or 0 for item in good),
        wrong_lengths=len(wrong),
        wall_seconds=run.wall_seconds,
        ttft_ms=summarize(item.ttfb * _MS for item in good),
        ttlt_ms=summarize(item.total * _MS for item in good),
        tpot_ms=summarize(value for item in good if (value := _tpot_ms(item)) is not None),
        short_ttft_ms=summarize(
            item.ttfb * _MS for item in good if rows[item.number].output_tokens <= middle
        ),
        long_ttlt_ms=summarize(
            item.total * _MS for item in good if rows[item.number].output_tokens >= long
        ),
        most_waiting=most_waiting,
    )


def _tpot_ms(result: RequestResult) -> float | None:
    """TPOT is defined from the second token on."""
    if result.tokens is None or result.tokens <= 1:
        return None
    return (result.total - result.ttfb) * _MS / (result.tokens - 1)
