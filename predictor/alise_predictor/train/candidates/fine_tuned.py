"""Tier 1: the fine-tuned encoder, from a checkpoint or a bundle, in float and in int8."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime
import torch

from alise_core.prediction import LEVELS
from alise_predictor.artifact import TIER1, TOKENIZER, Bundle, load_bundle
from alise_predictor.features import SCALARS, extract
from alise_predictor.request import PredictionRequest
from alise_predictor.serving.pieces import PieceReader
from alise_predictor.train.candidates.base import (
    CandidateUnavailable,
    Context,
    Fitted,
    Prompts,
    PromptStore,
    Quantiles,
)
from alise_predictor.train.candidates.encoding import encode_texts, file_digest, piece_reader
from alise_predictor.train.candidates.sessions import open_graph
from alise_predictor.train.candidates.vectors import VectorCache, Vectors
from alise_predictor.train.dataset.split import SALT
from alise_predictor.train.encoder import Encoder, packaged_weights, read_shape
from alise_predictor.train.examples import Examples
from alise_predictor.train.network import LengthNetwork, LengthRange
from alise_predictor.train.tier1_graph import export_float, export_int8

PERMISSIVE = "shipped"
"""Name of the regime whose training set a bundle's is."""


class FineTunedFloat:
    """The fine-tuned network in torch, from ``CHECKPOINTS/REGIME.pt``."""

    name = "fine_tuned"
    summary = "MiniLM fine-tuned with quantile loss + 0.05 x ListMLE (tier 1, float)"

    def fit(self, examples: Examples, context: Context) -> Fitted:
        """Load; training takes most of an hour and is ``alise predictor train``'s."""
        checkpoint = find_checkpoint(context)
        network = load_network(checkpoint, context.span, float(np.median(examples.level)))
        reader = piece_reader(packaged_weights())
        store = context.prompts
        span = "-".join(f"{bound:.3f}" for bound in context.span)
        name = f"tier1-float-{span}-{file_digest(checkpoint)}"
        ask = _Cached(context, store, name, _torch(network, reader))
        file = context.files.cache / f"tier1-{context.regime}.onnx"
        export_float(network, len(SCALARS), file)
        return Fitted(
            ask,
            size_bytes=file.stat().st_size,
            onnx={"tier1_float": file},
            predict_one=lambda request: _torch(network, reader)([request]),
        )


class FineTunedInt8:
    """The same as int8 ONNX: the bundle's where there is one, else exported here."""

    name = "fine_tuned_int8"
    summary = "the same as int8 ONNX (tier 1 as shipped)"

    def fit(self, examples: Examples, context: Context) -> Fitted:
        """Open or export the graph."""
        file, reader = _graph(examples, context)
        session = open_graph(file)

        def run(requests: Sequence[PredictionRequest]) -> Vectors:
            return np.concatenate([_run(session, reader, one) for one in requests])

        ask = _Cached(context, context.prompts, f"tier1-int8-{file_digest(file)}", run)
        return Fitted(
            ask,
            size_bytes=file.stat().st_size,
            onnx={"tier1_int8": file},
            predict_one=lambda request: run([request]),
        )


def load_network(checkpoint: Path, span: tuple[float, float], centre: float) -> LengthNetwork:
    """A fine-tuned network.

    Args:
        checkpoint: State of a ``LengthNetwork``, alone or as ``network`` of a checkpoint.
        span: Range of the training lengths.
        centre: Where an untrained head would start; overwritten by the state.

    Raises:
        CandidateUnavailable: The file is none of this network.
    """
    encoder = Encoder(read_shape(packaged_weights()))
    network = LengthNetwork(encoder, len(SCALARS), len(LEVELS), LengthRange(*span), centre)
    stored = torch.load(checkpoint, weights_only=True)
    try:
        network.load_state_dict(stored.get("network", stored))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise CandidateUnavailable(f"{checkpoint.name} is another network: {reason}") from error
    return network.eval()


class _Cached:
    """Prompts to quantiles through a cache on disk; equal texts with equal numbers are one."""

    def __init__(
        self,
        context: Context,
        store: PromptStore,
        name: str,
        run: Callable[[Sequence[PredictionRequest]], Vectors],
    ) -> None:
        self._store = store
        self._run = run
        self._by_key: dict[str, PredictionRequest] = {}
        file = context.files.cache / f"{name}.npz"
        self._cache = VectorCache(file, self._encode, len(LEVELS), context.log)

    def __call__(self, prompts: Prompts) -> Quantiles:
        requests = [self._store.request(prompt) for prompt in prompts.tolist()]
        keys = [repr(one) for one in requests]
        self._by_key = dict(zip(keys, requests, strict=True))
        return self._cache.rows(keys)

    def _encode(self, keys: Sequence[str]) -> Vectors:
        return self._run([self._by_key[key] for key in keys])


def _torch(
    network: LengthNetwork, reader: PieceReader
) -> Callable[[Sequence[PredictionRequest]], Vectors]:
    def run(requests: Sequence[PredictionRequest]) -> Vectors:
        scalars = torch.from_numpy(np.array([extract(one).scalars for one in requests]))
        texts = [one.prompt.decode("utf-8", "replace") for one in requests]
        return encode_texts(reader, texts, lambda i, m, rows: network(i, m, scalars[list(rows)])[0])

    return run


def _run(
    session: onnxruntime.InferenceSession, reader: PieceReader, request: PredictionRequest
) -> Vectors:
    ids = np.array((reader.ids(request.prompt),), np.int64)
    feed = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "scalars": extract(request).scalars[None],
    }
    return cast("Vectors", session.run(["log_quantiles"], feed)[0])


def _graph(examples: Examples, context: Context) -> tuple[Path, PieceReader]:
    if context.regime == PERMISSIVE and context.files.bundle is not None:
        return _from_bundle(context.files.bundle)
    network = load_network(find_checkpoint(context), context.span, float(np.median(examples.level)))
    file = context.files.cache / f"tier1-{context.regime}-int8.onnx"
    export_int8(network, len(SCALARS), file)
    return file, piece_reader(packaged_weights())


def open_bundle(directory: Path) -> Bundle:
    """A bundle whose training prompts are on the training side here, too.

    Raises:
        ArtifactError: It is damaged or of another version.
        CandidateUnavailable: It was trained on another split.
    """
    bundle = load_bundle(directory)
    if bundle.manifest.training.split_salt != SALT:
        raise CandidateUnavailable(
            "the bundle was trained on another split (salt "
            f"{bundle.manifest.training.split_salt!r}, here {SALT!r}): it may know the test prompts"
        )
    return bundle


def _from_bundle(directory: Path) -> tuple[Path, PieceReader]:
    bundle = open_bundle(directory)
    facts = bundle.manifest.tier1
    if facts is None:
        raise CandidateUnavailable("the bundle has no tier 1")
    reader = PieceReader(bundle.read(TOKENIZER), facts.head_pieces, facts.tail_pieces)
    return directory / TIER1, reader


def find_checkpoint(context: Context) -> Path:
    """The fine-tuned network of a regime.

    Raises:
        CandidateUnavailable: There is none.
    """
    directory = context.files.checkpoints
    file = None if directory is None else directory / f"{context.regime}.pt"
    if file is None or not file.exists():
        raise CandidateUnavailable(
            f"no fine-tuned network for the regime {context.regime!r}: "
            f"give a directory with {context.regime}.pt"
        )
    return file


@dataclass(frozen=True, slots=True)
class Blend:
    """Weighted mean of two candidates' quantiles, in log space.

    Attributes:
        name: See ``Candidate``.
        summary: See ``Candidate``.
        first: The candidate that counts ``weight``.
        second: The candidate that counts the rest.
        weight: Between 0 and 1.
    """

    name: str
    summary: str
    first: str
    second: str = "tier0"
    weight: float = 0.7

    def fit(self, examples: Examples, context: Context) -> Fitted:
        """Nothing is learned."""
        missing = [name for name in (self.first, self.second) if name not in context.fitted]
        if missing:
            raise CandidateUnavailable(
                f"{self.name} averages {', '.join(missing)}, which is absent"
            )
        one, other = context.fitted[self.first], context.fitted[self.second]

        def log_quantiles(prompts: Prompts) -> Quantiles:
            rest = 1.0 - self.weight
            mixed = self.weight * one.log_quantiles(prompts) + rest * other.log_quantiles(prompts)
            return mixed.astype(np.float32)

        parts = [each.predict_one for each in (one, other) if each.predict_one is not None]
        return Fitted(
            log_quantiles,
            size_bytes=one.size_bytes + other.size_bytes,
            predict_one=lambda request: [predict(request) for predict in parts],
        )


def fine_tuned_candidates() -> list[FineTunedFloat | FineTunedInt8 | Blend]:
    """Tier 1 in both precisions, and each averaged with tier 0."""
    return [
        FineTunedFloat(),
        FineTunedInt8(),
        Blend("blend", "0.7 x fine_tuned + 0.3 x tier0", "fine_tuned"),
        Blend("blend_int8", "0.7 x fine_tuned_int8 + 0.3 x tier0 (as shipped)", "fine_tuned_int8"),
    ]
