"""Fine-tuning learns, and an interruption changes nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from alise_core.errors import ConfigError
from alise_predictor.train.batches import BatchPlan, TrainingSet
from alise_predictor.train.fit import FitProgress, FitSettings, fit
from alise_predictor.train.network import LengthNetwork
from predictor_train.builders import small_network, training_set

pytestmark = pytest.mark.slow

SETTINGS = FitSettings(
    epochs=2,
    encoder_rate=3e-3,
    head_rate=1e-2,
    frozen_layers=1,
    average=0.98,
    bfloat16=False,
    plan=BatchPlan(items=4, lists=1, pool=4),
)
SAVED = 200
"""A checkpoint is written after so many steps."""


class _Stopped(Exception):
    pass


def _ignore(_: FitProgress) -> None:
    pass


def _weights(network: LengthNetwork) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _fit_until(network: LengthNetwork, data: TrainingSet, checkpoint: Path, step: int) -> None:
    def stop(at: FitProgress) -> None:
        if at.step == step:
            raise _Stopped

    with pytest.raises(_Stopped):
        fit(network, data, SETTINGS, checkpoint, stop)


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return training_set({0: 300, 1: 200})


@pytest.fixture(scope="module")
def uninterrupted(data: TrainingSet) -> tuple[dict[str, torch.Tensor], list[FitProgress]]:
    network, seen = small_network(), list[FitProgress]()
    fit(network, data, SETTINGS, None, seen.append)
    return _weights(network), seen


def test_a_rule_is_learned_and_the_frozen_part_is_not_touched(
    data: TrainingSet, uninterrupted: tuple[dict[str, torch.Tensor], list[FitProgress]]
) -> None:
    weights, seen = uninterrupted
    network = small_network()
    before = _weights(network)
    network.load_state_dict(weights)
    unseen = training_set({0: 60}, seed=9)
    found = np.zeros(60)
    for row, pieces in enumerate(unseen.pieces):
        ids = torch.tensor(pieces[None].astype(np.int64))
        with torch.no_grad():
            quantiles, _ = network(ids, torch.ones_like(ids), torch.from_numpy(unseen.scalars[:1]))
        found[row] = float(quantiles[0, 3])
    is_long = unseen.level > 4

    assert found[is_long].min() > found[~is_long].max()
    assert np.mean(np.abs(found - unseen.level)) < 0.4
    assert np.mean([one.loss for one in seen[-20:]]) < np.mean([one.loss for one in seen[:20]]) / 2
    assert [one.step for one in seen] == list(range(1, seen[0].steps + 1))
    for name in ("encoder.words.weight", "encoder.segment", "encoder.layers.0.query.weight"):
        assert torch.equal(weights[name], before[name])
    for name in ("encoder.layers.1.query.weight", "encoder.layers.2.down.bias", "out.weight"):
        assert not torch.equal(weights[name], before[name])


def test_a_resumed_fit_ends_with_the_same_weights(
    data: TrainingSet,
    uninterrupted: tuple[dict[str, torch.Tensor], list[FitProgress]],
    tmp_path: Path,
) -> None:
    checkpoint, seen = tmp_path / "state", list[FitProgress]()
    _fit_until(small_network(), data, checkpoint, SAVED + 30)
    # What the second process happens to begin with plays no part.
    network = small_network(seed=77)
    fit(network, data, SETTINGS, checkpoint, seen.append)

    assert seen[0].step == SAVED + 1
    assert seen == uninterrupted[1][SAVED:]
    assert _same(_weights(network), uninterrupted[0])


def test_the_same_seed_gives_the_same_weights_and_keeps_no_file(
    data: TrainingSet, uninterrupted: tuple[dict[str, torch.Tensor], list[FitProgress]]
) -> None:
    network = small_network()
    fit(network, data, SETTINGS, None, _ignore)

    assert _same(_weights(network), uninterrupted[0])
    assert not network.training


def test_a_checkpoint_of_other_settings_is_not_continued(data: TrainingSet, tmp_path: Path) -> None:
    checkpoint, seen = tmp_path / "state", list[FitProgress]()
    _fit_until(small_network(), data, checkpoint, SAVED + 1)

    def stop(at: FitProgress) -> None:
        seen.append(at)
        raise _Stopped

    with pytest.raises(_Stopped):
        fit(small_network(), data, replace(SETTINGS, head_rate=2e-2), checkpoint, stop)
    assert seen[0].step == 1


@pytest.mark.parametrize("steps", [1, 5, 10, 20])
def test_any_number_of_steps_has_a_schedule(steps: int) -> None:
    data, seen = training_set({0: 4 * steps}), list[FitProgress]()
    settings = replace(SETTINGS, epochs=1, warmup=0.1)
    fit(small_network(), data, settings, None, seen.append)

    assert len(seen) == steps
    assert all(np.isfinite(one.loss) for one in seen)


def test_too_few_prompts_for_a_batch_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"3 prompts make no batch.*--no-tier1"):
        fit(small_network(), training_set({0: 3}), SETTINGS, None, _ignore)


def test_every_loss_takes_part() -> None:
    data = training_set({0: 40})
    losses = {}
    for part in ("pinball", "list", "margin"):
        settings = replace(
            SETTINGS,
            epochs=1,
            pinball_weight=float(part == "pinball"),
            list_weight=float(part == "list"),
            margin_weight=float(part == "margin"),
        )
        seen: list[FitProgress] = []
        fit(small_network(), data, settings, None, seen.append)
        losses[part] = seen[0].loss

    assert len({round(loss, 6) for loss in losses.values()}) == 3
    assert min(losses.values()) > 0
