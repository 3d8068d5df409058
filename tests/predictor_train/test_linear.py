"""The hashed linear model, and predictions for what it has not seen."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("torch")

from alise_predictor.features import BUCKETS, SCALARS, extract
from alise_predictor.request import from_prompt
from alise_predictor.train.linear import LinearSettings, cross_fit, design, fit_linear
from predictor_train.builders import made_examples, word_examples

pytestmark = pytest.mark.slow


def test_words_that_ask_for_length_are_learned() -> None:
    learned, unseen = word_examples(400), word_examples(100, seed=1)
    model = fit_linear(learned, LinearSettings())
    scores = model.scores(unseen.features)

    assert np.corrcoef(scores, unseen.level)[0, 1] > 0.9
    assert model.table.shape == (BUCKETS,)
    assert model.table.dtype == np.float32
    assert model.weights.shape == (len(SCALARS),)


def test_a_score_is_what_the_docstring_says() -> None:
    data = word_examples(120)
    model = fit_linear(data, LinearSettings())
    one = data.features[3]
    expected = (
        model.bias
        + model.table[one.ids].sum() / np.sqrt(len(one.ids))
        + one.scalars @ model.weights
    )

    assert model.scores([one])[0] == pytest.approx(expected, abs=1e-5)


def test_the_design_matrix_counts_repetitions() -> None:
    features = extract(from_prompt("sea sea sea", ""))
    matrix = design([features, extract(from_prompt("", ""))])

    assert matrix.shape == (2, BUCKETS)
    assert matrix[0].sum() == pytest.approx(np.sqrt(len(features.ids)))
    assert matrix[0, int(features.ids[0])] == pytest.approx(
        np.sum(features.ids == features.ids[0]) / np.sqrt(len(features.ids))
    )


def test_cross_fit_never_learns_from_the_own_cluster() -> None:
    # A cluster's only common word tells its level exactly, and nothing else tells anything: who
    # saw any member of the cluster knows, who saw none cannot.
    random = np.random.default_rng(0)
    clusters = np.repeat(np.arange(60), 3)
    levels = random.normal(4.0, 1.0, 60)[clusters]
    features = [extract(from_prompt(f"unique{cluster}", "")) for cluster in clusters]
    data = replace(made_examples(features, levels), cluster=clusters.astype(np.int32))
    settings = LinearSettings(penalty=0.01)

    seen = fit_linear(data, settings).scores(data.features)
    unseen = cross_fit(data, settings)

    assert np.corrcoef(seen, levels)[0, 1] > 0.99
    assert abs(np.corrcoef(unseen, levels)[0, 1]) < 0.35
    # Members of a cluster are left out together, so they all get the same.
    assert np.ptp(unseen.reshape(60, 3), axis=1).max() < 1e-6


def test_cross_fit_knows_what_other_clusters_teach() -> None:
    data = word_examples(400)

    assert np.corrcoef(cross_fit(data, LinearSettings()), data.level)[0, 1] > 0.85


def test_cross_fit_bears_folds_without_clusters() -> None:
    data = word_examples(90)
    data = replace(data, cluster=(np.arange(90) % 3).astype(np.int32))

    assert np.all(np.isfinite(cross_fit(data, LinearSettings(folds=20))))


def test_indicators_of_data_sets_take_over_what_is_common() -> None:
    data = word_examples(400)
    source = (np.arange(400) % 2).astype(np.int32)
    features = [
        extract(from_prompt(f"{'exam ' if source[i] else ''}topic {i}", "")) for i in range(400)
    ]
    shifted = replace(data, features=features, source=source, level=data.level * 0.1 + 2.0 * source)
    none = fit_linear(shifted, LinearSettings(source_scale=0.0)).scores(features)
    strong = fit_linear(shifted, LinearSettings(source_scale=50.0)).scores(features)

    assert np.ptp(none) > 1.5
    assert np.ptp(strong) < np.ptp(none) / 3
