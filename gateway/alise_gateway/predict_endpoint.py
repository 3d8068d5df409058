"""``POST /v1/predict``: what the gateway would expect of a request, without sending it anywhere.

Takes the body of any endpoint that generates; identifies and routes as that endpoint would, and
answers at once. Nothing is queued, learned or counted as an inference request.
"""

import msgspec

from alise_core.errors import RequestError
from alise_core.prediction import LEVELS
from alise_core.wire.openai import Endpoint
from alise_gateway.discovery.registry import BackendRegistry
from alise_gateway.domain.prediction import Prediction
from alise_gateway.domain.request import HttpRequest, Tenant
from alise_gateway.intake.handler import ClientSide
from alise_gateway.intake.parse import parse_request
from alise_gateway.intake.replies import reply
from alise_gateway.predicting import Predicting
from alise_gateway.routing import route


class BundleName(msgspec.Struct, frozen=True):
    """Which bundle predicted."""

    name: str
    version: str


class PredictionReply(msgspec.Struct, frozen=True):
    """The answer's document.

    Attributes:
        model: Name under which backends serve the model.
        source: What predicted.
        tokens: Expected output tokens: their mean and quantiles.
        max_tokens: The limit that the prediction is capped by; ``None`` without one.
        is_trusted: The tenant's traffic has not shown the model to be wrong about it.
        answers_learned: Finished answers of this tenant and model behind the correction.
        bundle: Which one; ``None`` where none is loaded.
    """

    model: str
    source: str
    tokens: dict[str, float]
    max_tokens: int | None
    is_trusted: bool
    answers_learned: int
    bundle: BundleName | None
    object: str = "prediction"


class PredictEndpoint:
    """Answers at once, on the event loop."""

    def __init__(self, predicting: Predicting, registry: BackendRegistry) -> None:
        self._predicting = predicting
        self._registry = registry

    def answer(self, connection: ClientSide, request: HttpRequest, tenant: Tenant) -> None:
        """Answer one call."""
        try:
            document = self._predict(request, tenant)
        except RequestError as error:
            connection.refuse(error, [])
            return
        keep_alive = connection.keeps_alive
        body = msgspec.json.encode(document)
        connection.end(reply(200, [], body, keep_alive=keep_alive), keep_alive=keep_alive)

    def _predict(self, request: HttpRequest, tenant: Tenant) -> PredictionReply:
        # The endpoint decides only whether usage is asked for, which concerns nobody here.
        asked = parse_request(Endpoint.RESPONSES, request.body, keep_content=True)
        served = route(asked, tenant, self._registry)
        pending = self._predicting.begin(asked, served, tenant)
        pending.settle()
        return self._document(pending.prediction, asked.max_tokens)

    def _document(self, prediction: Prediction, max_tokens: int | None) -> PredictionReply:
        loaded = self._predicting.predictor.loaded
        known = loaded.learner.statistics(prediction.tenant, prediction.model)
        tokens = {"mean": round(prediction.distribution.mean(), 1)}
        for level in LEVELS:
            name = f"p{round(100 * level):02d}"
            tokens[name] = round(prediction.distribution.quantile(level), 1)
        manifest = None if loaded.model is None else loaded.model.manifest
        return PredictionReply(
            model=prediction.model,
            source=str(prediction.source),
            tokens=tokens,
            max_tokens=max_tokens,
            is_trusted=known.fallback is None,
            answers_learned=known.answers,
            bundle=None if manifest is None else BundleName(manifest.name, manifest.version),
        )
