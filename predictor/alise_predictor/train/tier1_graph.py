"""Tier 1 as an ONNX graph: exported from torch and quantized to int8."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from alise_predictor.train.network import LengthNetwork

OPSET = 17


def export_float(network: LengthNetwork, scalars: int, file: Path) -> None:
    """Write the network as float32 ONNX.

    Args:
        network: In evaluation mode.
        scalars: Number of request features.
        file: Where to.
    """
    pieces = 12
    inputs = (
        torch.ones(1, pieces, dtype=torch.int64),
        torch.ones(1, pieces, dtype=torch.int64),
        torch.zeros(1, scalars),
    )
    shared = {0: "batch", 1: "pieces"}
    with _quiet():
        torch.onnx.export(
            network.eval(),
            inputs,
            str(file),
            input_names=["input_ids", "attention_mask", "scalars"],
            output_names=["log_quantiles", "embedding"],
            dynamic_axes={
                "input_ids": shared,
                "attention_mask": shared,
                "scalars": {0: "batch"},
                "log_quantiles": {0: "batch"},
                "embedding": {0: "batch"},
            },
            opset_version=OPSET,
            dynamo=False,
        )


def export_int8(network: LengthNetwork, scalars: int, file: Path) -> None:
    """Write the network with int8 weights.

    Args:
        network: In evaluation mode.
        scalars: Number of request features.
        file: Where to.
    """
    with TemporaryDirectory() as directory:
        plain = Path(directory, "plain.onnx")
        export_float(network, scalars, plain)
        # One scale per output channel: with one per matrix the worst answers are off by a factor
        # of 2.3 instead of 1.4 (measured). Fusing the transformer's operators first made it
        # slower on CPUs, not faster.
        with _quiet():
            quantize_dynamic(plain, file, weight_type=QuantType.QInt8, per_channel=True)
    onnx.checker.check_model(onnx.load(str(file)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep from the user what only the author of this module can act on.

    torch's tracing exporter is deprecated, but its successor needs one more package for the same
    graph; the quantizer recommends the fusion that was measured to be slower.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logging.disable(disabled)
