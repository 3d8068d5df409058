"""Which bundle serves: the configured one while it is good, and what served before otherwise."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from structlog.testing import capture_logs

from alise_core.prediction import PredictionSource
from alise_gateway.predict.bundles import BundleKeeper
from alise_gateway.predict.predictor import Predictor
from alise_gateway.settings import PredictorSettings
from alise_predictor.artifact import MANIFEST, TIER0
from fakes.clock import FakeClock
from fakes.gateway import eventually
from fakes.length_model import FakeMeter, asked, tenant
from fakes.predictor import bundle
from fakes.predictor_bundle import edit_manifest, flip_byte


class Bench:
    """A keeper of one directory."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.directory = directory
        self.reads: list[bool] = []
        self.settings = PredictorSettings(bundle_dir=directory, **settings)
        self.predictor = Predictor(self.settings, FakeClock(), FakeMeter())
        self.firsts = 0
        self.keeper = BundleKeeper(
            self.settings, self.predictor, self.reads.append, self.note_first
        )

    async def note_first(self) -> None:
        self.firsts += 1

    @property
    def version(self) -> str | None:
        model = self.predictor.loaded.model
        return None if model is None else model.manifest.version


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(bundle(tmp_path / "bundle"))
    await bench.keeper.start()
    yield bench
    await bench.keeper.stop()


async def test_the_bundle_of_the_directory_serves(bench: Bench) -> None:
    assert (bench.version, bench.reads, bench.keeper.error) == ("1", [True], None)
    found = bench.predictor.begin(asked(), "m", tenant()).prediction
    assert found.source is PredictionSource.TIER0


async def test_an_unchanged_bundle_is_not_read_again(bench: Bench) -> None:
    model = bench.predictor.loaded.model
    await bench.keeper.refresh()
    assert bench.predictor.loaded.model is model
    assert bench.reads == [True]


async def test_a_changed_manifest_swaps_the_bundle(bench: Bench) -> None:
    pending = bench.predictor.begin(asked(), "m", tenant())
    edit_manifest(bench.directory, version="2")
    await bench.keeper.refresh()
    assert (bench.version, bench.reads) == ("2", [True, True])
    assert bench.firsts == 1
    pending.settle()
    assert pending.prediction.learning is not None
    learner = bench.predictor.loaded.learner
    assert pending.prediction.learning.learner is not learner, "it teaches whom it is about"


async def test_what_was_learned_stays_with_the_same_model(bench: Bench) -> None:
    learner = bench.predictor.loaded.learner
    edit_manifest(bench.directory, licence="MIT")
    await bench.keeper.refresh()
    assert bench.reads == [True, True]
    assert bench.predictor.loaded.learner is learner


def flip_a_byte(directory: Path) -> None:
    edit_manifest(directory, version="2")
    flip_byte(directory / TIER0)


SPOILERS: dict[str, Callable[[Path], object]] = {
    "a flipped byte": flip_a_byte,
    "no json": lambda path: (path / MANIFEST).write_text("{"),
    "another feature schema": lambda path: edit_manifest(path, feature_schema="0" * 64),
    "another format": lambda path: edit_manifest(path, format_version=99),
    "nothing": rmtree,
}


@pytest.mark.parametrize("name", SPOILERS)
async def test_a_bundle_that_is_no_good_changes_nothing_and_is_reported_once(
    bench: Bench, name: str
) -> None:
    SPOILERS[name](bench.directory)
    with capture_logs() as logs:
        for _ in range(3):
            await bench.keeper.refresh()
    assert (bench.version, bench.reads) == ("1", [True, False])
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("predictor_refused", "error")
    assert str(bench.directory) in line["reason"]
    assert bench.keeper.error == line["reason"]


async def test_a_bundle_that_was_half_copied_is_taken_when_it_is_whole(
    bench: Bench, tmp_path: Path
) -> None:
    other = bundle(tmp_path / "other", bias=0.5)
    whole = (bench.directory / TIER0).read_bytes()
    edit_manifest(bench.directory, version="2")
    (bench.directory / TIER0).write_bytes((other / TIER0).read_bytes())
    await bench.keeper.refresh()
    assert bench.version == "1"
    (bench.directory / TIER0).write_bytes(whole)
    await bench.keeper.refresh()
    assert (bench.version, bench.keeper.error) == ("2", None)


async def test_the_old_bundle_put_back_ends_the_error(bench: Bench) -> None:
    before = (bench.directory / MANIFEST).read_bytes()
    (bench.directory / MANIFEST).write_text("{")
    await bench.keeper.refresh()
    assert "JSON" in str(bench.keeper.error)
    (bench.directory / MANIFEST).write_bytes(before)
    await bench.keeper.refresh()
    assert (bench.version, bench.keeper.error) == ("1", None)


async def test_a_model_that_predicts_nothing_is_refused(tmp_path: Path) -> None:
    bench = Bench(bundle(tmp_path / "nan", bias=float("nan")))
    await bench.keeper.refresh()
    assert (bench.version, bench.reads) == (None, [False])


async def test_without_a_bundle_priors_serve_and_it_is_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "missing")
    with capture_logs() as logs:
        await bench.keeper.refresh()
    assert [line["log_level"] for line in logs] == ["error"]
    found = bench.predictor.begin(asked(), "m", tenant()).prediction
    assert found.source is PredictionSource.PRIOR


@pytest.mark.parametrize(
    ("wanted", "has", "gets"),
    [("auto", True, True), ("auto", False, False), ("off", True, False), ("on", True, True)],
)
async def test_tier_1_is_opened_where_it_is_wanted(
    tmp_path: Path, wanted: str, has: bool, gets: bool
) -> None:
    bench = Bench(bundle(tmp_path / "b", tier1=has), tier1=wanted)
    await bench.keeper.refresh()
    assert bench.predictor.loaded.has_tier1 is gets


async def test_a_demanded_tier_1_that_is_missing_is_an_error(tmp_path: Path) -> None:
    bench = Bench(bundle(tmp_path / "b"), tier1="on")
    await bench.keeper.refresh()
    assert bench.version is None
    assert bench.keeper.error is not None
    assert "no tier 1" in bench.keeper.error


async def test_the_directory_is_looked_at_now_and_then(tmp_path: Path) -> None:
    bench = Bench(bundle(tmp_path / "b"), reload_seconds=7)
    turn = asyncio.Event()
    naps: list[float] = []

    async def sleep(seconds: float) -> None:
        naps.append(seconds)
        await turn.wait()
        turn.clear()

    keeper = BundleKeeper(
        bench.settings, bench.predictor, bench.reads.append, bench.note_first, sleep
    )
    await keeper.start()
    edit_manifest(bench.directory, version="2")
    turn.set()
    await eventually(lambda: len(naps) == 2)
    assert (bench.version, naps) == ("2", [7, 7])
    await keeper.stop()
