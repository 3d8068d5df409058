"""ONNX Runtime as everything here uses it: one thread that does not spin."""

from pathlib import Path

import onnxruntime


def open_graph(file: Path) -> onnxruntime.InferenceSession:
    """A session on one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"])
