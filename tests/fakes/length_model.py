"""A model of lengths that says what a test tells it, and a meter that remembers."""

import json
import threading
from dataclasses import replace
from math import log1p
from typing import Any, cast

import numpy as np

from alise_core.prediction import PredictionSource
from alise_core.units import ModelName, TenantId
from alise_core.wire.openai import Endpoint
from alise_gateway.domain.prediction import FallbackCause, Hint, Refinement
from alise_gateway.domain.request import InferenceRequest, Tenant
from alise_gateway.intake.parse import parse_request
from alise_gateway.predict.predictor import Predictor
from alise_gateway.settings import PredictorSettings
from alise_predictor.features import SCALARS, Features
from alise_predictor.prediction import RawPrediction
from alise_predictor.request import PredictionRequest
from alise_predictor.serving import LengthPredictor
from fakes.clock import FakeClock
from fakes.raw_client import chat

NO_FEATURES = Features(np.zeros(1, np.int64), np.zeros(len(SCALARS), np.float32))


def around(tokens: float) -> tuple[float, ...]:
    """Quantiles around a median."""
    return tuple(log1p(tokens) + shift for shift in (-1.5, -1, -0.5, 0, 0.5, 1, 1.5))


class FakeLengthModel:
    """Stands in for ``LengthPredictor``.

    Attributes:
        tokens: Median of what tier 0 says.
        refined_tokens: Median of what tier 1 says.
        seconds: The clock's advance during a prediction.
        error: Raised instead of an answer.
        gate: Tier 1 waits for it.
        asked: What was asked of either tier.
    """

    def __init__(self, clock: FakeClock, *, has_tier1: bool = False) -> None:
        self.clock = clock
        self.has_tier1 = has_tier1
        self.tokens = 50.0
        self.refined_tokens = 500.0
        self.seconds = 0.0
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.asked: list[PredictionRequest] = []
        self.refined: list[PredictionRequest] = []

    def predict(self, request: PredictionRequest) -> RawPrediction:
        self.asked.append(request)
        self.clock.advance(self.seconds)
        if self.error is not None:
            raise self.error
        return RawPrediction(around(self.tokens), PredictionSource.TIER0, NO_FEATURES)

    def refine(self, request: PredictionRequest, first: RawPrediction) -> RawPrediction:
        assert self.gate.wait(5)
        self.refined.append(request)
        if self.error is not None:
            raise self.error
        return replace(
            first, log_quantiles=around(self.refined_tokens), source=PredictionSource.TIER1
        )


class FakeMeter:
    """Remembers every call."""

    def __init__(self) -> None:
        self.sources: list[PredictionSource] = []
        self.causes: list[FallbackCause] = []
        self.refinements: list[Refinement] = []
        self.hints: list[Hint] = []
        self.lessons = {"learned": 0, "not_learned": 0, "spared": 0}

    def predicted(self, source: PredictionSource, seconds: float) -> None:
        assert seconds >= 0
        self.sources.append(source)

    def fell_back(self, cause: FallbackCause) -> None:
        self.causes.append(cause)

    def refined(self, result: Refinement) -> None:
        self.refinements.append(result)

    def hinted(self, result: Hint) -> None:
        self.hints.append(result)

    def learned(self) -> None:
        self.lessons["learned"] += 1

    def not_learned(self) -> None:
        self.lessons["not_learned"] += 1

    def spared(self) -> None:
        self.lessons["spared"] += 1


class PredictionBench:
    """A predictor with a fake model."""

    def __init__(self, *, has_tier1: bool = False, **settings: Any) -> None:
        self.clock = FakeClock()
        self.meter = FakeMeter()
        self.model = FakeLengthModel(self.clock, has_tier1=has_tier1)
        self.predictor = Predictor(PredictorSettings(**settings), self.clock, self.meter)
        self.use(self.model)

    def use(self, model: FakeLengthModel | None) -> None:
        loaded = self.predictor.loaded
        self.predictor.loaded = replace(loaded, model=cast("LengthPredictor | None", model))


def tenant(name: str = "team", *, may_schedule: bool = False) -> Tenant:
    return Tenant(TenantId(name), may_schedule=may_schedule)


def asked(content: Any = "hello", **fields: Any) -> InferenceRequest:
    """A chat request as intake hands it on."""
    body = json.dumps(chat(content, **{"max_tokens": None, **fields})).encode()
    request = parse_request(Endpoint.CHAT_COMPLETIONS, body, keep_content=True)
    assert request.model == ModelName("alise-sim")
    return request
