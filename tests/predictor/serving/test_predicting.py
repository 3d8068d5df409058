"""A prediction is ordered, finite and inside the training range, whatever the request."""

import threading
from collections.abc import Iterator
from itertools import pairwise
from math import isfinite, log1p
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.prediction import LEVELS, PredictionSource
from alise_predictor.artifact import ArtifactError
from alise_predictor.features import SCALARS
from alise_predictor.prediction import Embedding, RawPrediction
from alise_predictor.request import PredictionRequest, cut, from_body, from_prompt
from alise_predictor.serving import LengthPredictor, PredictorError
from alise_predictor.serving.graph import Feed, Graph, float32, int64
from fakes.predictor_bundle import (
    EMBEDDING,
    HIGHEST,
    LOWEST,
    TALKATIVE,
    TALKATIVE_OFFSET,
    BundleOptions,
    tiny_bundle,
)

BOTTOM, TOP = log1p(LOWEST), log1p(HIGHEST)


@pytest.fixture(scope="module")
def predictor() -> Iterator[LengthPredictor]:
    with TemporaryDirectory() as directory:
        bundle = tiny_bundle(Path(directory) / "bundle", BundleOptions(tier1=True))
        yield LengthPredictor.open(bundle, tier1=True)


def _check(prediction: RawPrediction) -> None:
    quantiles = prediction.log_quantiles
    assert len(quantiles) == len(LEVELS)
    assert all(isfinite(value) for value in quantiles)
    assert all(low <= high for low, high in pairwise(quantiles))
    assert BOTTOM <= quantiles[0] <= quantiles[-1] <= TOP


def _check_both(predictor: LengthPredictor, request: PredictionRequest) -> None:
    first = predictor.predict(request)
    _check(first)
    second = predictor.refine(request, first)
    _check(second)
    assert second.embedding is not None
    assert np.isfinite(second.embedding).all()


@given(st.text(), st.text(max_size=20))
def test_any_text_is_predicted(predictor: LengthPredictor, prompt: str, system: str) -> None:
    _check_both(predictor, from_prompt(prompt, "m", system=system))


@given(st.binary(max_size=500), st.booleans(), st.integers(1, 10**6), st.integers(0, 10**12))
def test_any_bytes_are_predicted(
    predictor: LengthPredictor, prompt: bytes, has_json: bool, turns: int, size: int
) -> None:
    request = PredictionRequest(
        model="m", prompt=prompt, json_mode=has_json, turns=turns, prompt_bytes=size
    )

    _check_both(predictor, request)


MANY = [{"role": "user", "content": "Write about the sea"}] * 10_000


@pytest.mark.parametrize(
    "request_",
    [
        from_prompt("", "m"),
        from_prompt("x" * 1_000_000, "m"),
        from_prompt(" " * 1_000_000, "m"),
        from_prompt("!" * 1_000_000, "m"),
        from_prompt("東" * 300_000, "m"),
        from_prompt("👩‍👩‍👧‍👦🏳️‍🌈" * 50, "m"),
        from_prompt("\ud800\udfff\udc00", "m"),
        from_prompt("\x00\x01\x7f\ufffe", "m"),
        from_body({"messages": MANY}, "m"),
        from_body({}, "m"),
        PredictionRequest(model="m", prompt=cut("é".encode() * 100_000)),
        PredictionRequest(model="", prompt=b"\xff\xfe\x80", max_tokens=1),
    ],
    ids=[
        "empty",
        "one word of a megabyte",
        "a megabyte of blanks",
        "a megabyte of marks",
        "ideographs",
        "emoji",
        "lone surrogates",
        "control characters",
        "10,000 messages",
        "no fields",
        "cut inside a character",
        "no UTF-8",
    ],
)
def test_odd_requests_are_predicted(
    predictor: LengthPredictor, request_: PredictionRequest
) -> None:
    _check_both(predictor, request_)


def test_tier0_says_what_it_saw(predictor: LengthPredictor) -> None:
    first = predictor.predict(from_prompt("Write an essay", "m"))

    assert first.source is PredictionSource.TIER0
    assert first.embedding is None
    assert first.features.scalars.shape == (len(SCALARS),)
    assert first.log_median == first.log_quantiles[3]


def test_different_prompts_have_different_predictions(predictor: LengthPredictor) -> None:
    essay, word = from_prompt("Write an essay", "m"), from_prompt("Tell me why", "m")

    assert predictor.predict(essay).log_quantiles != predictor.predict(word).log_quantiles


def test_tier1_keeps_tier0s_features_and_adds_its_own(predictor: LengthPredictor) -> None:
    request = from_prompt("Write an essay", "m")
    first = predictor.predict(request)
    second = predictor.refine(request, first)

    assert second.source is PredictionSource.TIER1
    assert second.features is first.features
    assert second.embedding is not None
    assert second.embedding.shape == (EMBEDDING,)
    assert np.linalg.norm(second.embedding) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("weight", [0.0, 0.25, 0.7, 1.0])
def test_the_tiers_are_averaged_with_the_manifests_weight(tmp_path: Path, weight: float) -> None:
    request = from_prompt("Write an essay about the sea", "m")

    def refined(share: float) -> tuple[RawPrediction, RawPrediction]:
        options = BundleOptions(tier1=True, weight=share)
        opened = LengthPredictor.open(tiny_bundle(tmp_path / str(share), options), tier1=True)
        first = opened.predict(request)
        return first, opened.refine(request, first)

    tier0, second = refined(weight)
    _, tier1 = refined(1.0)

    expected = weight * np.array(tier1.log_quantiles) + (1 - weight) * np.array(tier0.log_quantiles)
    assert second.log_quantiles == pytest.approx(tuple(expected))


def test_a_known_models_verbosity_is_added_in_both_tiers(predictor: LengthPredictor) -> None:
    prompt = "Write an essay about the sea"
    plain, talkative = from_prompt(prompt, "unheard of"), from_prompt(prompt, TALKATIVE)
    first, second = predictor.predict(plain), predictor.predict(talkative)
    shift = np.full(len(LEVELS), TALKATIVE_OFFSET)

    assert np.subtract(second.log_quantiles, first.log_quantiles) == pytest.approx(shift)
    refined = predictor.refine(talkative, second).log_quantiles
    plain_refined = predictor.refine(plain, first).log_quantiles
    assert np.subtract(refined, plain_refined) == pytest.approx(shift)


@pytest.mark.parametrize("bias", [-50.0, 50.0])
def test_an_offset_does_not_lead_out_of_the_training_range(tmp_path: Path, bias: float) -> None:
    bundle = tiny_bundle(tmp_path / "bundle", BundleOptions(tier1=True, bias=bias))
    predictor = LengthPredictor.open(bundle, tier1=True)

    _check_both(predictor, from_prompt("Write", TALKATIVE))


def test_predictions_repeat(predictor: LengthPredictor) -> None:
    request = from_prompt("How is the sea?", "m")

    first, again = predictor.predict(request), predictor.predict(request)

    assert first.log_quantiles == again.log_quantiles


def test_threads_do_not_disturb_each_other(predictor: LengthPredictor) -> None:
    requests = [from_prompt(f"Write {count} essays about the sea", "m") for count in range(20)]
    firsts = [predictor.predict(request) for request in requests]
    pairs = list(zip(requests, firsts, strict=True))
    alone = [predictor.refine(*pair).log_quantiles for pair in pairs]
    together: list[list[tuple[float, ...]]] = [[] for _ in range(4)]

    def work(results: list[tuple[float, ...]]) -> None:
        results.extend(predictor.refine(*pair).log_quantiles for pair in pairs)

    threads = [threading.Thread(target=work, args=(results,)) for results in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert together == [alone] * len(threads)


class _Broken:
    """Tier 0 of a model whose third quantile is what the test wants."""

    def __init__(self, value: float) -> None:
        self._value = value

    def log_quantiles(self, features: object) -> list[float]:
        del features
        return [1.0, 2.0, self._value, 4.0, 5.0, 6.0, 7.0]


@pytest.mark.parametrize("value", [-1.0, 0.5, 3.0, 4.5, 1e30])
def test_quantiles_are_put_in_order(predictor: LengthPredictor, value: float) -> None:
    broken = LengthPredictor(predictor.manifest, _Broken(value), None)  # type: ignore[arg-type]

    _check(broken.predict(from_prompt("Write", "m")))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_no_prediction(predictor: LengthPredictor, value: float) -> None:
    broken = LengthPredictor(predictor.manifest, _Broken(value), None)  # type: ignore[arg-type]

    with pytest.raises(PredictorError, match="not finite"):
        broken.predict(from_prompt("Write", "m"))


class _BrokenEncoder:
    """Tier 1 whose encoding overflows while its quantiles do not."""

    def read(self, prompt: bytes, scalars: object) -> tuple[list[float], Embedding]:
        del prompt, scalars
        return [1.0] * len(LEVELS), np.array([0.0, float("inf")], np.float32)


def test_an_embedding_that_is_not_finite_is_no_prediction(predictor: LengthPredictor) -> None:
    request = from_prompt("Write", "m")
    first = predictor.predict(request)
    broken = LengthPredictor(predictor.manifest, _Broken(3.0), _BrokenEncoder())  # type: ignore[arg-type]

    with pytest.raises(PredictorError, match="embedding that is not finite"):
        broken.refine(request, first)


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    path = tiny_bundle(tmp_path / "bundle").directory / "tier0.onnx"
    inputs = (int64("ids", None), float32("scalars", len(SCALARS)))
    return Graph(path, inputs, (float32("log_quantiles", len(LEVELS)),))


NO_NUMBERS = np.zeros(len(SCALARS), np.float32)


def test_a_run_that_fails_is_our_error_and_quotes_nothing(graph: Graph) -> None:
    with pytest.raises(PredictorError, match=r"tier0.onnx: InvalidArgument while running$"):
        graph.run({"ids": np.array([987_654_321]), "scalars": NO_NUMBERS})


def test_a_probe_finds_a_shape_that_the_graph_did_not_declare(graph: Graph) -> None:
    feed: Feed = {"ids": np.zeros(1, np.int64), "scalars": NO_NUMBERS}

    with pytest.raises(ArtifactError, match=r"log_quantiles: found shape \(7,\), expected shape"):
        graph.probe(feed, (float32("log_quantiles", 5),))
