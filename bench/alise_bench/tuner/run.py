"""Rows over a day, and the rate that loads are measured by."""

import time
from collections.abc import Sequence

from alise_bench.tuner.control import Recorder, Tuned, need_ahead
from alise_bench.tuner.day import Asked, RecordedDay, lengths_of
from alise_bench.tuner.figures import Run
from alise_bench.tuner.rows import SPEC, Control, Row
from alise_bench.tuner.world import TOKEN_SECONDS, Setup, World

_DRAWN = 20_000


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
        look = tuned = Tuned(SPEC, setup, coming, row.control is Control.ALONE)
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


def full_rate(day: RecordedDay, setup: Setup, seed: int) -> float:
    """Requests a second at which the pool's exact KV caches are just full on average.

    By Little's law: KV slots of all pods, by the slot-seconds of a request, which holds its prompt
    for as long as it runs and half of its answer on average.
    """
    pairs = lengths_of(day, _DRAWN, setup.profile.max_model_len - 1, seed)
    held = sum((prompt + output / 2) * output * TOKEN_SECONDS for prompt, output in pairs)
    return setup.pods * setup.profile.kv_tokens * len(pairs) / held
