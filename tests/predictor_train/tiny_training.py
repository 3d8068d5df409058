"""A training that takes seconds; needs torch and the training environment's token ranks."""

import sys
from pathlib import Path

from alise_predictor.train.batches import BatchPlan
from alise_predictor.train.fit import FitProgress, FitSettings
from alise_predictor.train.pipeline import Progress, Trained, TrainOptions, train_predictor
from alise_predictor.train.tier0 import HeadSettings
from alise_predictor.train.tier1 import Tier1Settings

_RANKS = "llama_index/core/_static/tiktoken_cache"


def ranks() -> Path:
    """Where ``tools/train_env.py`` put the token ranks."""
    library = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    return Path(sys.prefix) / library / _RANKS


def tiny_options(
    data: Path, out: Path, *, tier1: bool, permissive_only: bool = True
) -> TrainOptions:
    """Short prompts, one epoch, a head of few steps."""
    fit = FitSettings(epochs=1, bfloat16=False, frozen_layers=5, plan=BatchPlan(items=8, lists=2))
    return TrainOptions(
        data=data,
        out=out,
        ranks=ranks(),
        permissive_only=permissive_only,
        tier1=tier1,
        encoder=Tier1Settings(head_pieces=6, tail_pieces=3, fit=fit),
        head=HeadSettings(steps=150, batch=256),
        command="alise predictor train --data DIR",
    )


def train(options: TrainOptions) -> tuple[Trained, list[str], list[FitProgress]]:
    """Train; with what was said and the steps of the fine-tuning."""
    said: list[str] = []
    steps: list[FitProgress] = []
    return train_predictor(options, Progress(said.append, steps.append)), said, steps
