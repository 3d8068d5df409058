"""An ONNX graph whose inputs and outputs are known to be the ones we feed and read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from alise_predictor.artifact import ArtifactError
from alise_predictor.artifact.errors import RETRAIN
from alise_predictor.serving.errors import PredictorError

Array = npt.NDArray[np.float32]
Feed = Mapping[str, npt.NDArray[np.int64] | Array]

_INT64 = "tensor(int64)"
_FLOAT = "tensor(float)"
_FATAL_ONLY = 4
"""An error is raised; ONNX Runtime need not print it as well."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What one input or output must be.

    Attributes:
        name: In the graph.
        element: ONNX Runtime's name of the element type.
        shape: Sizes; ``None`` for a dimension that has to be free.
    """

    name: str
    element: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        sizes = ", ".join("any" if size is None else str(size) for size in self.shape)
        return f"{self.element} [{sizes}]"


def int64(name: str, *shape: int | None) -> TensorSpec:
    """Specification of a tensor of integers."""
    return TensorSpec(name, _INT64, shape)


def float32(name: str, *shape: int | None) -> TensorSpec:
    """Specification of a tensor of floats."""
    return TensorSpec(name, _FLOAT, shape)


class Graph:
    """One ONNX Runtime session; running it is thread-safe.

    Plain ``run`` with NumPy arrays is used: binding inputs and outputs beforehand saves 0.3
    microseconds of 10 and would tie the session to one thread.

    Args:
        path: ONNX model. ONNX Runtime reads it itself, because it would keep the bytes that it is
            given for as long as the session lives.
        inputs: What it must take, no more and no less.
        outputs: What it must give; it may give more.

    Raises:
        ArtifactError: It is no ONNX model or one with other inputs or outputs.
    """

    __slots__ = ("_outputs", "_session", "_where")

    def __init__(
        self,
        path: Path,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
    ) -> None:
        where = self._where = str(path)
        self._session = _session(where)
        self._outputs = [spec.name for spec in outputs]
        takes, gives = self._session.get_inputs(), self._session.get_outputs()
        if {node.name for node in takes} != {spec.name for spec in inputs}:
            raise _fault(f"{where}: inputs", _names(takes), _names(inputs))
        if not {node.name for node in gives} >= {spec.name for spec in outputs}:
            raise _fault(f"{where}: outputs", _names(gives), _names(outputs))
        nodes = {node.name: node for node in (*takes, *gives)}
        for spec in (*inputs, *outputs):
            _check_tensor(nodes[spec.name], spec, where)

    def run(self, feed: Feed) -> list[Array]:
        """The outputs in the order of their specifications.

        Args:
            feed: Input name to array.

        Raises:
            PredictorError: ONNX Runtime refuses.
        """
        try:
            outputs: list[Array] = self._session.run(self._outputs, feed)
        except Exception as error:
            # ONNX Runtime's errors share no base class; its text may quote values, so the
            # type alone goes into ours.
            raise PredictorError(f"{self._where}: {type(error).__name__} while running") from error
        return outputs

    def probe(self, feed: Feed, specs: Sequence[TensorSpec]) -> None:
        """Run once and check what comes out before anyone relies on it.

        Args:
            feed: Input name to array.
            specs: The outputs' specifications; the first one's must be ordered quantiles.

        Raises:
            ArtifactError: Wrong shapes, numbers that are none, or unordered quantiles.
        """
        try:
            outputs = self.run(feed)
        except PredictorError as error:
            raise _fault(f"{self._where}: first run", str(error.__cause__), "a result") from error
        for spec, output in zip(specs, outputs, strict=True):
            subject = f"{self._where}: first run: {spec.name}"
            if output.shape != spec.shape:
                raise _fault(subject, f"shape {output.shape}", f"shape {spec.shape}")
            if not np.isfinite(output).all():
                raise _fault(subject, "NaN or infinity", "finite numbers")
        quantiles = outputs[0].ravel()
        if (np.diff(quantiles) < 0).any():
            raise _fault(f"{self._where}: first run", str(quantiles), "ordered quantiles")


def _session(path: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # One thread that never spins: predictions run beside an event loop on the same cores, and one
    # prediction is too little work to share.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # Memory goes back after a run: keeping the largest request's buffers buys no measurable time.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = _FATAL_ONLY
    try:
        return onnxruntime.InferenceSession(
            path, sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise _fault(path, f"{type(error).__name__}: {error}", "an ONNX model") from error


def _check_tensor(node: onnxruntime.NodeArg, spec: TensorSpec, where: str) -> None:
    found = f"{node.type} {node.shape}"
    fits = node.type == spec.element and len(node.shape) == len(spec.shape)
    for size, wanted in zip(node.shape, spec.shape, strict=False):
        # A graph may leave open what we fix, and must leave open what we vary.
        is_free = not isinstance(size, int)
        fits = fits and (is_free or size == wanted)
    if not fits:
        raise _fault(f"{where}: {spec.name}", found, str(spec))


def _names(nodes: Sequence[onnxruntime.NodeArg] | Sequence[TensorSpec]) -> str:
    return ", ".join(sorted(node.name for node in nodes)) or "none"


def _fault(subject: str, found: str, expected: str) -> ArtifactError:
    return ArtifactError(subject, found=found, expected=expected, remedy=RETRAIN)
