"""Tier 0 as an ONNX graph: the table in int8, everything else in float32."""

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from alise_core.prediction import LEVELS
from alise_predictor.features import SCALARS
from alise_predictor.train.tier0 import CENTRE, Tier0Model

OPSET = 17
_CLIPPED = 0.9999
"""Share of the table that fits the int8 range; the few weights beyond are cut off, which leaves
all others finer steps."""

Array = npt.NDArray[np.float32]


def quantize_table(table: Array) -> tuple[npt.NDArray[np.int8], float]:
    """Symmetric int8 with one scale.

    Args:
        table: float32 ``(n,)``.

    Returns: The table as int8, and what one step of it means.
    """
    used = np.abs(table[table != 0])
    largest = float(np.quantile(used, _CLIPPED)) if len(used) else 1.0
    # Below the smallest normal number a step is no longer what it says.
    scale = max(largest / 127.0, float(np.finfo(np.float32).tiny))
    return np.clip(np.round(table / scale), -127, 127).astype(np.int8), scale


def tier0_graph(model: Tier0Model) -> onnx.ModelProto:
    """The graph ``ids, scalars -> log_quantiles``.

    Args:
        model: A trained tier 0.
    """
    half = len(LEVELS) // 2
    table, scale = quantize_table(model.linear.table)
    head = {name: value.detach().numpy() for name, value in model.head.named_parameters()}
    span = model.head.span
    slope, shift = float(head["slope"]), float(head["bias"])
    constants: dict[str, npt.NDArray[np.float32] | npt.NDArray[np.int8]] = {
        "table": table,
        "weights": model.linear.weights,
        "bias": _float(model.linear.bias - CENTRE).reshape(1),
        "scale": _float(scale),
        "w1": head["hidden.weight"].T.copy(),
        "b1": head["hidden.bias"],
        "w2": head["out.weight"].T.copy(),
        "b2": head["out.bias"],
        "slope": _float(slope),
        "shift": _float(CENTRE + shift),
        # Cumulative sums of the steps, away from the median on both sides, as one product.
        "reach": _reach(half),
        "low": _float(span.low),
        "high": _float(span.high),
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "ids"], ["rows"]),
        node("Cast", ["rows"], ["values"], to=TensorProto.FLOAT),
        node("ReduceSum", ["values"], ["sum"], keepdims=1),
        node("Shape", ["ids"], ["shape"]),
        node("Cast", ["shape"], ["count"], to=TensorProto.FLOAT),
        node("Sqrt", ["count"], ["root"]),
        node("Div", ["sum", "root"], ["mean"]),
        node("Mul", ["mean", "scale"], ["text"]),
        node("MatMul", ["scalars", "weights"], ["numbers"]),
        node("Add", ["text", "numbers"], ["both"]),
        node("Add", ["both", "bias"], ["score"]),
        node("Concat", ["score", "scalars"], ["seen"], axis=0),
        node("MatMul", ["seen", "w1"], ["h0"]),
        node("Add", ["h0", "b1"], ["h1"]),
        node("Tanh", ["h1"], ["hidden"]),
        node("MatMul", ["hidden", "w2"], ["s0"]),
        node("Add", ["s0", "b2"], ["s1"]),
        node("Softplus", ["s1"], ["steps"]),
        node("MatMul", ["steps", "reach"], ["distance"]),
        node("Mul", ["score", "slope"], ["m0"]),
        node("Add", ["m0", "shift"], ["median"]),
        node("Add", ["distance", "median"], ["free"]),
        node("Clip", ["free", "low", "high"], ["log_quantiles"]),
    ]
    graph = helper.make_graph(
        nodes,
        "alise-tier0",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("scalars", TensorProto.FLOAT, [len(SCALARS)]),
        ],
        [helper.make_tensor_value_info("log_quantiles", TensorProto.FLOAT, [len(LEVELS)])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    made.ir_version = 9
    onnx.checker.check_model(made)
    return made


def _float(value: float) -> Array:
    return np.array(value, np.float32)


def _reach(half: int) -> Array:
    """Steps (below, then above the median) to signed distances at every level."""
    reach = np.zeros((2 * half, 2 * half + 1), np.float32)
    for step in range(half):
        reach[step, : step + 1] = -1.0
        reach[half + step, half + 1 + step :] = 1.0
    return reach
