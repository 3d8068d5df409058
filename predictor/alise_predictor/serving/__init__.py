"""Running a trained predictor: ONNX Runtime behind one small class."""

from alise_predictor.serving.errors import PredictorError
from alise_predictor.serving.latency import LatencyRow, measure_latency, measure_refinement
from alise_predictor.serving.predictor import LengthPredictor

__all__ = [
    "LatencyRow",
    "LengthPredictor",
    "PredictorError",
    "measure_latency",
    "measure_refinement",
]
