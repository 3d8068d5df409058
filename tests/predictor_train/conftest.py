"""One training of both tiers on little data, shared by all who look at its results."""

from dataclasses import dataclass
from typing import Any

import pytest

from predictor_train.tiny_data import write_gsm8k


@dataclass(frozen=True, slots=True)
class Training:
    """A finished training, and what was said while it ran.

    Attributes:
        options: What was asked for (``TrainOptions``).
        trained: What came out (``Trained``).
        said: Lines of progress.
        steps: Steps of the fine-tuning.
    """

    options: Any
    trained: Any
    said: list[str]
    steps: list[Any]


@pytest.fixture(scope="session")
def tiny_training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Both tiers, trained for a moment."""
    from predictor_train.tiny_training import tiny_options, train  # noqa: PLC0415  needs torch

    data = tmp_path_factory.mktemp("data")
    write_gsm8k(data, 420)
    options = tiny_options(data, tmp_path_factory.mktemp("out"), tier1=True)
    return Training(options, *train(options))
