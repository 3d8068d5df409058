"""What the ONNX graphs cost on one thread: batch 1 and 16, prompts of four lengths."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from alise_predictor.artifact import TOKENIZER, load_bundle
from alise_predictor.features import SCALARS, extract
from alise_predictor.request import PredictionRequest
from alise_predictor.serving import LengthPredictor
from alise_predictor.serving.pieces import PieceReader
from alise_predictor.train.candidates.sessions import open_graph
from alise_predictor.train.compare.results import LatencyResult
from alise_predictor.train.compare.timing import measure, sample_requests

PROMPT_TOKENS = (32, 128, 512, 4_096)
BATCH = 16

_VARIANTS = 8
_SLOWER = 10
"""A graph that reads word pieces takes a thousand times as long as one of buckets: this many
fewer calls, and for a batch as many fewer again."""

Feed = Mapping[str, npt.NDArray[np.int64] | npt.NDArray[np.float32]]
Call = Callable[[], object]


def graph_latency(
    graphs: Mapping[str, Path], reader: PieceReader | None, calls: int
) -> list[LatencyResult]:
    """Time graphs alone, inputs ready.

    Args:
        graphs: Name to ONNX file; what they read is seen from their inputs.
        reader: Text to word pieces; graphs that read these are left out without it.
        calls: Timed calls of a graph of buckets.
    """
    found: list[LatencyResult] = []
    for name, file in graphs.items():
        session = open_graph(file)
        if any(item.name == "ids" for item in session.get_inputs()):
            found += [_hashed(name, session, tokens, calls) for tokens in PROMPT_TOKENS]
        elif reader is not None:
            found += [
                _encoder(name, session, reader, (tokens, batch), calls)
                for batch in _batches(session)
                for tokens in PROMPT_TOKENS
            ]
    return found


def bundle_latency(directory: Path, calls: int) -> list[LatencyResult]:
    """Time a bundle as it is served: features, tokenizing and graph together."""
    bundle = load_bundle(directory)
    predictor = LengthPredictor.open(bundle, tier1=bundle.manifest.tier1 is not None)
    found = []
    for tokens in PROMPT_TOKENS:
        requests = sample_requests(tokens, _VARIANTS)
        one: list[Call] = [partial(predictor.predict, each) for each in requests]
        found.append(_result("tier 0", "served", (1, tokens, _grams(requests)), one, calls))
    if bundle.manifest.tier1 is None:
        return found
    reader = _bundle_reader(directory)
    for tokens in PROMPT_TOKENS:
        requests = sample_requests(tokens, _VARIANTS)
        refine: list[Call] = [
            partial(predictor.refine, each, predictor.predict(each)) for each in requests
        ]
        pieces = len(reader.ids(requests[0].prompt))
        found.append(_result("tier 1", "served", (1, tokens, pieces), refine, calls // _SLOWER))
    return found


def _bundle_reader(directory: Path) -> PieceReader:
    bundle = load_bundle(directory)
    facts = bundle.manifest.tier1
    if facts is None:
        raise ValueError("the bundle has no tier 1")
    return PieceReader(bundle.read(TOKENIZER), facts.head_pieces, facts.tail_pieces)


def _hashed(
    name: str, session: onnxruntime.InferenceSession, tokens: int, calls: int
) -> LatencyResult:
    requests = sample_requests(tokens, _VARIANTS)
    features = [extract(each) for each in requests]
    feeds: list[Feed] = [{"ids": one.ids, "scalars": one.scalars} for one in features]
    return _result(name, "graph", (1, tokens, _grams(requests)), _runs(session, feeds), calls)


def _encoder(
    name: str,
    session: onnxruntime.InferenceSession,
    reader: PieceReader,
    size: tuple[int, int],
    calls: int,
) -> LatencyResult:
    tokens, batch = size
    pieces = [reader.ids(each.prompt) for each in sample_requests(tokens, batch)]
    longest = max(map(len, pieces))
    # Made of common words: the prompts of one length have the same number of pieces, or nearly.
    ids = np.zeros((batch, longest), np.int64)
    for row, one in enumerate(pieces):
        ids[row, : len(one)] = one
    feed: Feed = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "scalars": np.zeros((batch, len(SCALARS)), np.float32),
    }
    fewer = max(5, calls // _SLOWER if batch == 1 else calls // _SLOWER**2)
    return _result(name, "graph", (batch, tokens, longest), _runs(session, [feed]), fewer)


def _batches(session: onnxruntime.InferenceSession) -> tuple[int, ...]:
    """Batch sizes the graph takes, of the two that are measured."""
    size = session.get_inputs()[0].shape[0]
    return (size,) if isinstance(size, int) else (1, BATCH)


def _runs(session: onnxruntime.InferenceSession, feeds: Sequence[Feed]) -> list[Call]:
    return [partial(session.run, None, feed) for feed in feeds]


def _grams(requests: Sequence[PredictionRequest]) -> int:
    return len(extract(requests[0]).ids)


def _result(
    graph: str, what: str, size: tuple[int, int, int], calls: Sequence[Call], repeats: int
) -> LatencyResult:
    times = measure(calls, max(5, repeats))
    batch, tokens, pieces = size
    return LatencyResult(
        graph, what, batch, tokens, pieces, times.wall_us, times.cpu_us, times.calls
    )
