"""Tier 0's graph computes what the trained model does."""

import numpy as np
import onnx
import onnxruntime
import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from alise_predictor.features import BUCKETS, SCALARS, Features, extract
from alise_predictor.request import from_prompt
from alise_predictor.train.linear import LinearModel
from alise_predictor.train.network import LengthRange
from alise_predictor.train.tier0 import QuantileHead, Tier0Model, head_quantiles
from alise_predictor.train.tier0_graph import quantize_table, tier0_graph

pytestmark = pytest.mark.slow

SPAN = LengthRange(0.0, 20.0)
"""Wide: where the outputs are clamped, wrong ones look right."""


@pytest.fixture(scope="module")
def model() -> Tier0Model:
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    head = QuantileHead(SPAN)
    with torch.no_grad():
        head.out.weight.mul_(10)
        head.slope.fill_(0.8)
        head.bias.fill_(0.7)
    return Tier0Model(
        LinearModel(
            table=random.normal(0, 0.3, BUCKETS).astype(np.float32),
            weights=random.normal(0, 0.3, len(SCALARS)).astype(np.float32),
            bias=6.0,
        ),
        head.eval(),
    )


@pytest.fixture(scope="module")
def int8(model: Tier0Model) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(tier0_graph(model).SerializeToString())


@pytest.fixture(scope="module")
def exact(model: Tier0Model) -> onnxruntime.InferenceSession:
    """The same graph with the table in float32."""
    graph = tier0_graph(model)
    for tensor in graph.graph.initializer:
        if tensor.name == "table":
            tensor.CopyFrom(numpy_helper.from_array(model.linear.table, "table"))
        if tensor.name == "scale":
            tensor.CopyFrom(numpy_helper.from_array(np.array(1.0, np.float32), "scale"))
    onnx.checker.check_model(graph)
    return onnxruntime.InferenceSession(graph.SerializeToString())


def _run(session: onnxruntime.InferenceSession, features: Features) -> np.ndarray:
    feed = {"ids": features.ids, "scalars": features.scalars}
    (found,) = session.run(None, feed)
    return np.asarray(found)


def _expected(model: Tier0Model, features: Features) -> np.ndarray:
    scores, scalars = model.linear.scores([features]), features.scalars[np.newaxis]
    return np.asarray(head_quantiles(model.head, scores, scalars)[0])


@given(st.text(max_size=300))
def test_with_an_exact_table_the_graph_is_the_model(
    model: Tier0Model, exact: onnxruntime.InferenceSession, text: str
) -> None:
    features = extract(from_prompt(text, ""))

    assert _run(exact, features) == pytest.approx(_expected(model, features), abs=1e-5)


@given(st.text(max_size=300))
def test_int8_is_off_by_its_rounding_and_no_more(
    model: Tier0Model, int8: onnxruntime.InferenceSession, text: str
) -> None:
    features = extract(from_prompt(text, ""))
    table, scale = quantize_table(model.linear.table)
    rounding = np.abs(table[features.ids] * scale - model.linear.table[features.ids])
    clipped = np.abs(table[features.ids]) == 127
    score_error = rounding.sum() / np.sqrt(len(features.ids))
    # The score enters the median by its slope and the steps through weights of this size.
    head = {name: value.detach().numpy() for name, value in model.head.named_parameters()}
    reach = np.abs(head["out.weight"]).sum() * np.abs(head["hidden.weight"][:, 0]).max()
    bound = score_error * (0.8 + reach) + 1e-5

    assert np.all(rounding[~clipped] <= scale / 2 + 1e-6)
    assert np.all(np.abs(_run(int8, features) - _expected(model, features)) <= bound)
    # The median alone is a line through the score.
    assert abs(_run(int8, features)[3] - _expected(model, features)[3]) <= 0.8 * score_error + 1e-5


@pytest.mark.parametrize("text", ["", " \n", "a", "x " * 4_000, "東京はどこですか。" * 50])
def test_unusual_requests(model: Tier0Model, int8: onnxruntime.InferenceSession, text: str) -> None:
    features = extract(from_prompt(text, ""))
    found = _run(int8, features)
    _, scale = quantize_table(model.linear.table)

    assert np.all(np.diff(found) >= 0)
    assert found[3] == pytest.approx(
        _expected(model, features)[3], abs=scale * np.sqrt(len(features.ids))
    )


@given(st.lists(st.floats(-3, 3, width=32), max_size=300))
def test_a_quantized_table_is_within_half_a_step_but_for_the_clipped(values: list[float]) -> None:
    table = np.array([*values, 0.0], np.float32)
    small, scale = quantize_table(table)
    error = np.abs(small * scale - table)

    assert small.dtype == np.int8
    assert scale > 0
    assert small[-1] == 0
    assert np.all(error[np.abs(small) < 127] <= scale / 2 * 1.0001)
    assert np.all(np.sign(small) * np.sign(table) >= 0)


def test_a_table_of_zeros_stays_one() -> None:
    small, scale = quantize_table(np.zeros(10, np.float32))

    assert not small.any()
    assert np.isfinite(scale)


def test_outputs_are_clamped_inside_the_graph(model: Tier0Model) -> None:
    head = QuantileHead(LengthRange(3.0, 3.5))
    head.load_state_dict(model.head.state_dict())
    graph = tier0_graph(Tier0Model(model.linear, head.eval()))
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    found = _run(session, extract(from_prompt("write an essay", "")))

    assert 3.0 <= found.min() <= found.max() <= 3.5
