"""The JSON documents of the control endpoints."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from alise_gateway.control.view import BackendStatus, ModelCard, PredictorStatus, QueueStatus
from alise_gateway.domain.backend import ProbeState
from alise_gateway.domain.breaker import BreakerState


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class ErrorDetail(_Document):
    """OpenAI's error object."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(_Document):
    """Every error of every endpoint has this shape."""

    error: ErrorDetail


class Health(_Document):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class ReadinessReply(_Document):
    """Whether new requests should come here, and why not."""

    status: Literal["ready", "not_ready"]
    reasons: list[str]


class ModelObject(_Document):
    """One model, as OpenAI describes it, with vLLM's context length."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    max_model_len: int | None = Field(description="Context length in tokens, where it is known.")

    @classmethod
    def of(cls, card: ModelCard) -> "ModelObject":
        """The wire form of ``card``."""
        return cls.model_validate(card)


class ModelList(_Document):
    """All models."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


class LoadObject(_Document):
    """How much of a backend is taken; null for what its engine does not say."""

    capacity_tokens: int | None = Field(description="KV memory.")
    cache_dtype: str | None = Field(description="Of the KV memory, as the engine names it.")
    kv_used_ratio: float | None = Field(description="KV memory in use, as the engine says.")
    kv_predicted_peak_ratio: float | None = Field(
        description="KV memory expected to be in use at the worst moment to come."
    )
    kv_correction_ratio: float = Field(description="Real use as a multiple of the expected.")
    admission_quantile_ratio: float = Field(
        description="Quantile of the predicted length that memory is reserved for."
    )
    in_flight_limit: float = Field(description="Requests that it may be given at a time.")
    figures_stale: bool = Field(description="The engine's figures are missing or too old.")
    engine_running: int | None = Field(description="Requests in the engine's batch.")
    engine_waiting: int | None = Field(description="Requests in the engine's own queue.")
    step_seconds: float = Field(description="Expected time per output token.")


class BackendObject(_Document):
    """One backend."""

    name: str
    url: str
    probe: ProbeState
    probe_error: str | None
    has_plugin: bool = Field(description="The engine plugin runs there.")
    breaker: BreakerState
    usable: bool
    in_flight: int
    max_in_flight: int
    models: list[str]
    load: LoadObject

    @classmethod
    def of(cls, status: BackendStatus) -> "BackendObject":
        """The wire form of ``status``."""
        return cls.model_validate(status)


class BackendList(_Document):
    """All backends."""

    backends: list[BackendObject]


class QueueObject(_Document):
    """The queue."""

    waiting: int
    waiting_by_class: dict[str, int]
    ordering: str
    ordering_by_model: dict[str, str]
    max_waiting: int
    in_flight: int
    oldest_wait_seconds: float | None
    draining: bool

    @classmethod
    def of(cls, status: QueueStatus) -> "QueueObject":
        """The wire form of ``status``."""
        return cls.model_validate(status)


class LearnedObject(_Document):
    """What is known of the predictions of one tenant's requests to one model."""

    tenant: str
    model: str
    answers: int
    concordance: float | None = Field(description="Share of recent pairs predicted in order.")
    coverage_p80: float | None = Field(description="Share of recent answers in p10..p90.")
    coverage_p90: float | None = Field(description="Share of recent answers up to p90.")
    drift: float | None = Field(description="Population stability index of recent lengths.")
    fallback: str | None = Field(description="Why the model is not trusted here.")


class PredictorObject(_Document):
    """The length predictor."""

    enabled: bool
    name: str | None
    version: str | None
    tiers: list[str]
    error: str | None = Field(description="Why the bundle looked at last is not in use.")
    learned_pairs: int
    learned_bytes: int
    learning_backlog: int
    refinement_backlog: int
    learned: list[LearnedObject]

    @classmethod
    def of(cls, status: PredictorStatus) -> "PredictorObject":
        """The wire form of ``status``."""
        return cls.model_validate(status)


class DrainReply(_Document):
    """The drain has begun."""

    status: Literal["draining"] = "draining"
    in_flight: int = Field(description="Requests that may still finish.")
    waiting: int = Field(description="Requests in the queue when the drain began.")
