"""ONNX Runtime as everything here uses it: one thread that does not spin."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from alise_predictor.features import Features
from alise_predictor.train.candidates.base import Quantiles


def open_graph(file: Path) -> onnxruntime.InferenceSession:
    """A session on one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"])


def open_tier0(file: Path) -> Callable[[Sequence[Features]], Quantiles]:
    """A graph of tier 0 as a function, ``(n, levels)``."""
    session = open_graph(file)

    def ask(features: Sequence[Features]) -> Quantiles:
        rows = [session.run(None, {"ids": one.ids, "scalars": one.scalars})[0] for one in features]
        return np.array(rows, np.float32)

    return ask
