"""Rows over a day, one after the other, and the capacity that loads are measured by."""

import time
from collections.abc import Sequence
from dataclasses import replace

from alise_bench.load.distribution import percentile
from alise_bench.tuner.control import Recorder, Tuned, need_ahead
from alise_bench.tuner.day import Asked, RecordedDay, lengths_of, predicted
from alise_bench.tuner.figures import Run
from alise_bench.tuner.rows import SPEC, Control, Row, Start
from alise_bench.tuner.world import Setup, World

TOKEN_SECONDS = 0.03
"""A token's time in a busy pod with exact KV, for what the oracle is told."""
_BURST = 1_500
_FROM, _UNTIL = 0.2, 0.7


def run_row(row: Row, asked: Sequence[Asked], setup: Setup) -> Run:
    """Serve the day."""
    begun = time.process_time()
    look: Recorder | Tuned
    if row.control is Control.NOBODY:
        look = recorder = Recorder()
        tuned = None
    else:
        coming = None
        if row.control is Control.ORACLE:
            coming = need_ahead(asked, setup, TOKEN_SECONDS)
        look = tuned = Tuned(SPEC, setup, coming)
        recorder = tuned.recorder
    world = World(asked, row.start, setup, look.look).run()
    return Run(
        asked=asked,
        marks=world.marks,
        moments=recorder.moments,
        changes=[] if tuned is None else tuned.changes,
        settings=[] if tuned is None else tuned.settings,
        preemptions=sum(pod.preemptions for pod in world.pods),
        restored_tokens=sum(pod.restored for pod in world.pods),
        cpu_seconds=time.process_time() - begun,
    )


def capacity_of(day: RecordedDay, setup: Setup, seed: int) -> float:
    """Completions a second of the pool with exact KV and no tier, everything waiting at once.

    Measured on one pod between 20 % and 70 % of the completions, times the number of pods.
    """
    pairs = lengths_of(day, _BURST, setup.profile.max_model_len - 1, seed)
    asked = predicted([(0.0, pair) for pair in pairs], seed)
    recorder = Recorder()
    world = World(asked, Start(), replace(setup, pods=1), recorder.look).run()
    ends = sorted(marks.last_token or 0.0 for marks in world.marks)
    span = percentile(ends, _UNTIL) - percentile(ends, _FROM)
    return setup.pods * (_UNTIL - _FROM) * _BURST / span
