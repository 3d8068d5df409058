"""Small networks, training sets and examples; needs torch."""

from pathlib import Path

import numpy as np
import torch

from alise_core.prediction import LEVELS
from alise_predictor.features import SCALARS, Features, extract
from alise_predictor.request import from_prompt
from alise_predictor.train.batches import TrainingSet
from alise_predictor.train.encoder import Encoder, EncoderShape
from alise_predictor.train.examples import Examples
from alise_predictor.train.network import LengthNetwork, LengthRange

SAMPLE = Path(__file__).resolve().parents[2] / "predictor/sample"
SPAN = LengthRange(1.0, 7.0)
SHAPE = EncoderShape(
    vocabulary=60, positions=40, hidden=16, layers=3, heads=2, intermediate=24, epsilon=1e-12
)


def small_network(shape: EncoderShape = SHAPE, seed: int = 0) -> LengthNetwork:
    """A network with random weights, in evaluation mode."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    network = LengthNetwork(Encoder(shape), len(SCALARS), len(LEVELS), SPAN, 4.0)
    network.eval()
    return network


def training_set(sizes: dict[int, int], seed: int = 0, *, long_piece: int = 7) -> TrainingSet:
    """Prompts of random pieces; those with ``long_piece`` have answers e**2 times as long.

    Args:
        sizes: Data set to its number of prompts.
        seed: Of everything.
        long_piece: Id of the telling piece.
    """
    random = np.random.default_rng(seed)
    count = sum(sizes.values())
    pieces, answers = [], []
    for _ in range(count):
        ids = random.integers(10, SHAPE.vocabulary, random.integers(3, 12))
        is_long = random.random() < 0.5
        if is_long:
            ids[random.integers(len(ids))] = long_piece
        pieces.append(ids.astype(np.int32))
        noise = random.normal(0.0, 0.1, random.integers(1, 9))
        answers.append((3.0 + 2.0 * is_long + noise).astype(np.float32))
    return TrainingSet(
        pieces=pieces,
        scalars=np.zeros((count, len(SCALARS)), np.float32),
        answers=answers,
        level=np.array([one.mean() for one in answers], np.float32),
        sources=np.repeat(list(sizes), list(sizes.values())).astype(np.int32),
    )


def word_examples(count: int = 400, seed: int = 0) -> Examples:
    """One-answer examples whose level is 3 plus 1 for each word that asks for length."""
    random = np.random.default_rng(seed)
    words = np.array(["river", "engine", "planet", "garden", "window", "market"])
    features, level = [], []
    for number in range(count):
        long = int(random.integers(0, 3))
        text = [*random.choice(words, 5), *["essay"] * long, f"n{number}"]
        features.append(extract(from_prompt(" ".join(random.permutation(text)), "")))
        level.append(3.0 + long + random.normal(0.0, 0.2))
    return made_examples(features, np.array(level))


def made_examples(features: list[Features], level: np.ndarray) -> Examples:
    """Examples of one data set, each its own cluster with one answer."""
    count = len(features)
    return Examples(
        prompts=np.arange(count),
        features=features,
        level=level.astype(np.float64),
        answers=[np.array([value], np.float32) for value in level],
        source=np.zeros(count, np.int32),
        cluster=np.arange(count, dtype=np.int32),
        weight=np.ones(count),
        offsets={},
    )
