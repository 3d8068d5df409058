"""What was learned, over a restart: whole, or not at all."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from alise_core.errors import AliseError
from alise_gateway.domain.prediction import SnapshotOperation
from alise_gateway.learn.snapshots import SnapshotKeeper
from fakes.gateway import eventually

SAVED, RESTORED = SnapshotOperation.SAVE, SnapshotOperation.RESTORE


class Learner:
    """Knows some bytes; refuses those that begin wrongly. Notes when it was asked to rest."""

    def __init__(self) -> None:
        self.knows = b""
        self.rests = 0
        self.was_resting: list[bool] = []

    def __len__(self) -> int:
        return len(self.knows)

    def snapshot(self) -> bytes:
        self.was_resting.append(self.rests > 0)
        return b"good:" + self.knows

    def restore(self, data: bytes) -> None:
        if not data.startswith(b"good:"):
            raise AliseError("snapshot is damaged")
        self.knows = data.removeprefix(b"good:")

    def pause(self) -> None:
        self.rests += 1

    def resume(self) -> None:
        self.rests -= 1


class Bench:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.learner = Learner()
        self.done: list[tuple[SnapshotOperation, bool]] = []
        self.naps: list[float] = []
        self.turn = asyncio.Event()
        self.has_bundle = True
        self.keeper = SnapshotKeeper(
            path,
            5.0,
            lambda: self.learner if self.has_bundle else None,
            self.learner,
            lambda operation, worked: self.done.append((operation, worked)),
            self.sleep,
        )

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        await self.turn.wait()
        self.turn.clear()

    async def stop(self) -> None:
        def learn() -> None:
            assert self.learner.rests == 0
            self.learner.knows += b"!"

        await self.keeper.stop(learn)

    async def naps_taken(self, count: int) -> None:
        await eventually(lambda: len(self.naps) >= count)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "learned")


async def test_what_is_saved_is_restored(bench: Bench) -> None:
    bench.learner.knows = b"much"
    await bench.keeper.save()
    later = Bench(bench.path)
    await later.keeper.restore()
    assert later.learner.knows == b"much"
    assert (bench.done, later.done) == ([(SAVED, True)], [(RESTORED, True)])


async def test_the_first_start_finds_nothing_and_says_nothing(bench: Bench) -> None:
    await bench.keeper.restore()
    assert bench.done == []


@pytest.mark.parametrize("content", [b"", b"bad", b"\x00" * 10_000])
async def test_a_damaged_file_costs_only_what_was_learned(bench: Bench, content: bytes) -> None:
    bench.path.write_bytes(content)
    with capture_logs() as logs:
        await bench.keeper.restore()
    assert bench.learner.knows == b""
    assert bench.done == [(RESTORED, False)]
    assert [line["log_level"] for line in logs] == ["error"]
    await bench.keeper.save()
    assert bench.path.read_bytes() == b"good:"


async def test_a_file_that_cannot_be_read_is_no_reason_to_stop(bench: Bench) -> None:
    bench.path.mkdir()
    await bench.keeper.restore()
    await bench.keeper.save()
    assert bench.done == [(RESTORED, False), (SAVED, False)]
    assert list(bench.path.parent.iterdir()) == [bench.path], "nothing half written is left"


async def test_it_saves_now_and_then_and_at_the_end(bench: Bench) -> None:
    bench.keeper.start()
    await bench.naps_taken(1)
    bench.learner.knows = b"one"
    bench.turn.set()
    await bench.naps_taken(2)
    assert bench.path.read_bytes() == b"good:one"
    bench.learner.knows = b"two"
    await bench.stop()
    assert bench.path.read_bytes() == b"good:two!"
    assert bench.naps == [5.0, 5.0]
    assert bench.learner.was_resting == [True, True]
    assert bench.learner.rests == 0


async def test_stopping_what_never_started_saves_nothing(bench: Bench) -> None:
    await bench.stop()
    assert not bench.path.exists()


async def test_without_its_bundle_the_file_is_left_alone(bench: Bench) -> None:
    bench.learner.knows = b"of the bundle"
    await bench.keeper.save()
    bench.has_bundle = False
    bench.learner.knows = b"of none"
    bench.keeper.start()
    await bench.keeper.restore()
    await bench.stop()
    assert bench.path.read_bytes() == b"good:of the bundle"
    assert bench.done == [(SAVED, True)]


async def test_the_old_file_stays_until_the_new_one_is_whole(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.learner.knows = b"old"
    await bench.keeper.save()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    bench.learner.knows = b"new"
    with capture_logs() as logs:
        await bench.keeper.save()
    assert bench.path.read_bytes() == b"good:old"
    assert [path.name for path in bench.path.parent.iterdir()] == ["learned"]
    assert logs[0]["reason"] == "No space left on device"
    assert bench.learner.rests == 0
