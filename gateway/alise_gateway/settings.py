"""Process settings of the gateway: the only module that reads its environment.

Precedence: command-line flag, then ``ALISE_GATEWAY_*`` environment variable (nested fields with
``__``, for example ``ALISE_GATEWAY_TIMEOUTS__CONNECT_SECONDS``), then the ``--config`` file, then
the default below.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from alise_core.errors import ConfigError
from alise_core.policy import (
    AdmissionPolicy,
    ClassLimits,
    FairnessPolicy,
    OrderingName,
    OrderingPolicy,
    SchedulingPolicy,
    class_limits,
)
from alise_core.service_class import ServiceClass
from alise_gateway.settings_kubernetes import KubernetesSettings

_SHOWN_VALUE_CHARS = 80

PositiveSeconds = Annotated[float, Field(gt=0, le=86_400)]


def _check_backend_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"backend URL {url!r} must look like http://host:port")
    if parts.query or parts.fragment or parts.username:
        raise ValueError(f"backend URL {url!r} must not carry a query, fragment or user")
    _ = parts.port  # raises ValueError for a port outside 0-65535
    return url.rstrip("/")


BackendUrl = Annotated[str, AfterValidator(_check_backend_url)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BackendSettings(_Group):
    """One statically configured engine."""

    url: BackendUrl
    max_in_flight: int | None = Field(default=None, ge=1, le=100_000)
    """Overrides ``queue.max_in_flight_per_backend`` for this backend."""
    api_key_file: Path | None = None
    """File with the key that the engine expects (``vllm serve --api-key``); the client's own
    key never travels to a backend."""


class AliasTarget(_Group):
    """One of several models behind an alias."""

    model: str
    """As backends serve it."""
    weight: int = Field(ge=1, le=1_000_000)
    """Its share of the conversations, against the sum of all weights."""


def _alias_kind(value: object) -> str:
    return "name" if isinstance(value, str) else "split"


AliasSetting = Annotated[
    Annotated[str, Tag("name")]
    | Annotated[tuple[AliasTarget, ...], Field(min_length=1), Tag("split")],
    Discriminator(_alias_kind),
]


class LimitSettings(_Group):
    """What one client may send before the gateway refuses it."""

    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1_024)
    """Multimodal requests carry images in base64: a few of them fit."""
    max_header_bytes: int = Field(default=32 * 1024, ge=1_024)
    """Whole header section including the request line."""
    max_headers: int = Field(default=100, ge=8)
    max_connections: int = Field(default=20_000, ge=1)
    """Accepted client connections; more are answered 503 and closed."""
    max_pipelined: int = Field(default=16, ge=1)
    """Complete requests parsed ahead on one connection before reading pauses."""


class TimeoutSettings(_Group):
    """Every wait has an end."""

    header_seconds: PositiveSeconds = 10
    """From the first byte of a request to the end of its headers (slow loris)."""
    body_seconds: PositiveSeconds = 60
    """From the end of the headers to the end of the body."""
    keep_alive_seconds: PositiveSeconds = 75
    """An idle client connection; longer than the 60 s of common load balancers, which must be
    the ones to close first."""
    connect_seconds: PositiveSeconds = 2
    first_byte_seconds: PositiveSeconds = 300
    """Streaming: dispatch to first event; covers the engine's own queue and a long prefill."""
    response_seconds: PositiveSeconds = 600
    """Not streaming: dispatch to the first byte of the answer, which is its end; as long as
    OpenAI's clients wait."""
    idle_seconds: PositiveSeconds = 120
    """Streaming: between two reads; a preempted request may pause for long."""
    total_seconds: PositiveSeconds = 3_600
    client_write_seconds: PositiveSeconds = 60
    """A client that stops reading is dropped after this."""
    linger_seconds: float = Field(default=0, ge=0, le=600)
    """SIGTERM: how long everything is still served before the drain, each connection being closed
    after its answer: clients with open connections move elsewhere without an error."""
    drain_seconds: PositiveSeconds = 120
    """After that: how long streams in flight may finish."""


class UpstreamSettings(_Group):
    """Connections to backends."""

    max_idle_connections: int = Field(default=256, ge=0)
    """Kept open per backend."""
    idle_connection_seconds: PositiveSeconds = 4
    """Idle upstream connections are closed after this; uvicorn, vLLM's server, closes at 5 s."""
    max_connections: int = Field(default=4_096, ge=1)
    """Per backend."""
    max_retries: int = Field(default=2, ge=0, le=10)
    """Attempts beyond the first, always before the client saw a byte."""
    retry_budget_ratio: float = Field(default=0.2, ge=0, le=1)
    """Retries may be at most this share of recent requests, so that an outage is not doubled."""
    retry_budget_floor_per_second: float = Field(default=2, ge=0)
    """Retries per second that are always allowed: a quiet gateway may retry too."""


class HealthSettings(_Group):
    """Active probing, reading the engines' metrics, and the circuit breaker."""

    probe_interval_seconds: PositiveSeconds = 2
    probe_timeout_seconds: PositiveSeconds = 2
    models_interval_seconds: PositiveSeconds = 30
    """How often ``/v1/models`` is read again from a healthy backend."""
    scrape_interval_seconds: PositiveSeconds = 1
    """How often a backend's ``/metrics`` is read: what it has in its memory changes within
    seconds, and reading takes a fraction of a millisecond."""
    scrape_timeout_seconds: PositiveSeconds = 2
    unhealthy_after_failures: int = Field(default=2, ge=1)
    breaker_failures: int = Field(default=5, ge=1)
    """Consecutive failed requests that open the breaker."""
    breaker_open_seconds: PositiveSeconds = 5
    breaker_max_open_seconds: PositiveSeconds = 60
    """The open time doubles with every failed half-open trial up to this."""


class QueueSettings(_Group):
    """How long the queue may become."""

    max_in_flight_per_backend: int = Field(default=256, ge=1, le=100_000)
    """vLLM's own default for ``--max-num-seqs`` on most GPUs; more would queue inside it."""
    max_waiting: int = Field(default=10_000, ge=0)
    """Requests that may wait in all classes together."""
    ttl_seconds: PositiveSeconds = 60
    """A request that waited this long is answered 429; see ``scheduling.classes`` for others."""


_POLICY = SchedulingPolicy()


class ClassSettings(_Group):
    """What one service class may take up while it waits; what is left out keeps its default."""

    max_waiting: int | None = Field(default=None, ge=0)
    """Requests that may wait; no limit of its own without it."""
    ttl_seconds: PositiveSeconds | None = None
    """A request that waited this long is answered 429."""
    trickle_share: float | None = Field(default=None, ge=0, le=0.5)
    """Work that the class may dispatch, while better classes wait too, for each unit of theirs."""


class SchedulingSettings(_Group):
    """Which request is next, and how much a backend is given."""

    ordering: OrderingName = _POLICY.ordering.name
    """Of the requests of one tenant in one class; docs/scheduling.md says what each is for."""
    gamma: float | None = Field(default=_POLICY.ordering.gamma, gt=0, le=100)
    """``boost``: per second; large is first come, first served, small is shortest first. Adapted
    to the load without it."""
    beta: float | None = Field(default=_POLICY.ordering.beta, ge=0, le=10)
    """``cost``: weight of what a request may cost at worst. Adapted to the load without it."""
    aging_half_life_seconds: PositiveSeconds | None = _POLICY.ordering.aging_half_life_seconds
    """``sjf``, ``rank``, ``cost``, ``tool-aware``: a wait this long halves a request's size."""
    guard_seconds: PositiveSeconds = _POLICY.ordering.guard_seconds
    """A request that waited this long, and for ``guard_factor`` times its own service, is next."""
    guard_factor: float = Field(default=_POLICY.ordering.guard_factor, ge=0, le=1_000)
    fairness: bool = _POLICY.fairness.enabled
    """Tenants of a class take turns by what they were given; off, they wait in one line."""
    input_weight: float = Field(default=_POLICY.fairness.input_weight, ge=0, le=100)
    """Of a prompt token in what a tenant was given."""
    output_weight: float = Field(default=_POLICY.fairness.output_weight, gt=0, le=100)
    idle_half_life_seconds: PositiveSeconds = _POLICY.fairness.idle_half_life_seconds
    """What a tenant was given ahead of others halves in this time while it is idle."""
    admission_quantile: float = Field(default=_POLICY.admission.quantile, gt=0, lt=1)
    """Of the predicted length at which KV memory is reserved."""
    high_admission_quantile: float = Field(default=_POLICY.admission.high_quantile, gt=0, lt=1)
    """The same for a backend that preempts too much."""
    preemption_ratio: float = Field(default=_POLICY.admission.preemption_ratio, gt=0)
    """Preemptions per finished request that are too many."""
    run_ahead: int = Field(default=_POLICY.admission.run_ahead, ge=0, le=1_000)
    """Requests that an engine may hold in its own queue, so that it never waits for the gateway."""
    ordering_run_ahead: int = Field(default=_POLICY.admission.ordering_run_ahead, ge=0, le=1_000)
    """The same for an engine with the ALISE scheduler, which orders its queue and preempts."""
    stale_seconds: PositiveSeconds = _POLICY.admission.stale_seconds
    """Figures of a backend older than this are not gone by."""
    backfill: int = Field(default=_POLICY.backfill, ge=0, le=1_000)
    """Requests behind one that does not fit that are tried in its place."""
    classes: Mapping[ServiceClass, ClassSettings] = Field(default_factory=dict)
    objectives: Mapping[str, int] = Field(default_factory=dict)
    """Inference objective (llm-d) -> priority: positive, 0, or negative for what may be shed."""
    send_priority: bool = True
    """Tell engines each request's rank (``X-Vllm-Priority``); vLLM heeds it with
    ``--scheduling-policy priority`` and ignores it otherwise."""
    send_prediction: bool = True
    """Tell engines that have the ALISE plugin each request's predicted length and class
    (``vllm_xargs`` in its body); others get bodies as they came."""

    @model_validator(mode="after")
    def _quantiles_ascend(self) -> "SchedulingSettings":
        if self.high_admission_quantile < self.admission_quantile:
            raise ValueError("high_admission_quantile must not be below admission_quantile")
        return self


class IdentitySettings(_Group):
    """Who may call."""

    allow_anonymous: bool = False
    """Serve requests without credentials (``--insecure-no-auth``)."""
    keys_file: Path | None = None
    """YAML file with tenants and hashed API keys; read again when it changes."""
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwks_file: Path | None = None
    jwks_url: str | None = None
    jwt_tenant_claim: str = "sub"
    reload_seconds: PositiveSeconds = 2
    """How often the files are checked for change."""

    @model_validator(mode="after")
    def _jwt_is_whole(self) -> "IdentitySettings":
        wants_jwt = self.jwt_issuer or self.jwt_audience or self.jwks_file or self.jwks_url
        if wants_jwt and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError("JWT needs both jwt_issuer and jwt_audience")
        if wants_jwt and bool(self.jwks_file) == bool(self.jwks_url):
            raise ValueError("JWT needs exactly one of jwks_file and jwks_url")
        return self


class ObservabilitySettings(_Group):
    """Logs and traces."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_requests: bool = True
    """One INFO line per finished request."""
    otlp_endpoint: str | None = None
    """OTLP/HTTP base URL, for example ``http://otel-collector:4318``; spans are off without it."""
    trace_sample_ratio: float = Field(default=1.0, ge=0, le=1)
    """For requests that arrive without a sampled parent."""
    max_label_values: int = Field(default=1_000, ge=1)
    """Distinct models or tenants in metrics; later ones are counted as ``other``."""


class PredictorSettings(_Group):
    """Predicting how long answers will be, and learning from how long they were."""

    enabled: bool = True
    """Off: nothing of the predictor is loaded, and requests are served without predictions."""
    bundle_dir: Path | None = None
    """A bundle of your own; the one that comes with ALISE without it. Replaced while serving when
    its manifest changes."""
    tier1: Literal["auto", "on", "off"] = "auto"
    """The encoder that refines what waits: where the bundle has one, demanded, or never."""
    deadline_seconds: PositiveSeconds = 0.02
    """Tier 0 takes a thousandth of this. Where it does not, it is left alone for a while."""
    refine_workers: int = Field(default=1, ge=1, le=16)
    """Threads for tier 1, which takes some milliseconds of one core a request."""
    refine_backlog: int = Field(default=256, ge=1, le=100_000)
    """Waiting requests whose refinement is due; newer ones crowd out older ones."""
    refine_deadline_seconds: PositiveSeconds = 2
    """A refinement that is not done this long after it was asked for is given up."""
    refine_cache_entries: int = Field(default=1_024, ge=0, le=1_000_000)
    """Refinements remembered by a hash of their prompt; about 2 KB each."""
    reload_seconds: PositiveSeconds = 10
    """How often ``bundle_dir`` is looked at."""
    learning: bool = True
    """Learn from finished requests."""
    learning_per_second: float = Field(default=100, gt=0, le=100_000)
    """Answers learned from in the long run: each takes a fifth of a millisecond of the core that
    serves, and the next hundred teach little. Young pairs of tenant and model go first."""
    learning_backlog: int = Field(default=4_096, ge=1, le=1_000_000)
    """Finished requests not learned from yet; beyond it the oldest are not."""
    max_keys: int = Field(default=512, ge=1, le=100_000)
    """Pairs of tenant and model that are learned about; the one unused for longest goes first."""
    max_learned_bytes: int = Field(default=32 * 1024 * 1024, ge=1_048_576)
    """Memory for what is learned, all pairs together."""
    snapshot_file: Path | None = None
    """Where what is learned survives a restart; it does not without it."""
    snapshot_seconds: PositiveSeconds = 300

    @field_validator("tier1", mode="before")
    @classmethod
    def _yaml_reads_on_and_off_as_truth(cls, tier1: object) -> object:
        return {True: "on", False: "off"}[tier1] if isinstance(tier1, bool) else tier1


class GatewaySettings(BaseSettings):
    """Everything the gateway process is told at start."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="ALISE_GATEWAY_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65_535)
    """Inference port; 0 lets the system choose."""
    admin_host: str = "127.0.0.1"
    admin_port: int | None = Field(default=None, ge=0, le=65_535)
    """Admin API (``/alise/``), metrics and probes on a port of their own; off without it."""
    admin_token_file: Path | None = None
    """File with the bearer token that ``/alise/`` demands; without it the network must protect
    the admin port."""
    backends: tuple[BackendSettings, ...] = ()
    aliases: Mapping[str, AliasSetting] = Field(default_factory=dict)
    """Model name that clients use -> model name that backends serve, or several with weights."""
    fallbacks: Mapping[str, str] = Field(default_factory=dict)
    """Model name that backends serve -> the one that answers while no backend of it is usable."""

    limits: LimitSettings = LimitSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    health: HealthSettings = HealthSettings()
    queue: QueueSettings = QueueSettings()
    scheduling: SchedulingSettings = SchedulingSettings()
    identity: IdentitySettings = IdentitySettings()
    observability: ObservabilitySettings = ObservabilitySettings()
    predictor: PredictorSettings = PredictorSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()

    @field_validator("backends")
    @classmethod
    def _backends_are_distinct(
        cls, backends: tuple[BackendSettings, ...]
    ) -> tuple[BackendSettings, ...]:
        urls = [backend.url for backend in backends]
        for url in urls:
            if urls.count(url) > 1:
                raise ValueError(f"backend {url!r} is listed more than once")
        return backends

    def policy(self) -> SchedulingPolicy:
        """What the queue obeys."""
        chosen = self.scheduling
        return SchedulingPolicy(
            max_waiting=self.queue.max_waiting,
            classes={item: self._class_limits(item) for item in ServiceClass},
            ordering=OrderingPolicy(
                name=chosen.ordering,
                gamma=chosen.gamma,
                beta=chosen.beta,
                aging_half_life_seconds=chosen.aging_half_life_seconds,
                guard_seconds=chosen.guard_seconds,
                guard_factor=chosen.guard_factor,
            ),
            fairness=FairnessPolicy(
                enabled=chosen.fairness,
                input_weight=chosen.input_weight,
                output_weight=chosen.output_weight,
                idle_half_life_seconds=chosen.idle_half_life_seconds,
            ),
            admission=AdmissionPolicy(
                quantile=chosen.admission_quantile,
                high_quantile=chosen.high_admission_quantile,
                preemption_ratio=chosen.preemption_ratio,
                run_ahead=chosen.run_ahead,
                ordering_run_ahead=chosen.ordering_run_ahead,
                stale_seconds=chosen.stale_seconds,
            ),
            backfill=chosen.backfill,
        )

    def _class_limits(self, item: ServiceClass) -> ClassLimits:
        wished = self.scheduling.classes.get(item, ClassSettings())
        return class_limits(
            item,
            self.queue.ttl_seconds,
            wished.max_waiting,
            wished.ttl_seconds,
            wished.trickle_share,
        )


def load_settings(file: Path | None, flags: dict[str, Any]) -> GatewaySettings:
    """Merge flags, environment, file and defaults.

    Args:
        file: YAML file shaped like ``GatewaySettings``; ``None`` for none.
        flags: Nested values given on the command line; the strongest source.

    Raises:
        ConfigError: A value is wrong; the message names every field, its value and the remedy.
    """
    file_values = _read_yaml(file) if file else {}

    class _File(PydanticBaseSettingsSource):
        def get_field_value(self, field: object, field_name: str) -> tuple[Any, str, bool]:
            del field
            return file_values.get(field_name), field_name, False

        def __call__(self) -> dict[str, Any]:
            return file_values

    class _Merged(GatewaySettings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del dotenv_settings, file_secret_settings
            return (init_settings, env_settings, _File(settings_cls))

    try:
        return _Merged(**flags)
    except ValidationError as error:
        raise ConfigError(_describe(error)) from error


def read_secret(file: Path, what: str) -> str:
    """One key or token from a file, as a mounted Secret holds it.

    Raises:
        ConfigError: The file cannot be read or does not hold exactly one key.
    """
    try:
        secret = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not ASCII text"
        raise ConfigError(f"{what}: cannot read {file}: {reason}") from error
    if not secret or not secret.isprintable() or " " in secret:
        raise ConfigError(
            f"{what}: {file} must hold one key: printable characters, no spaces, on one line"
        )
    return secret


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read configuration file {file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())  # YAML's errors are drawings of several lines
        raise ConfigError(f"configuration file {file} is not valid YAML: {detail}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"configuration file {file} must hold a mapping at its top level")
    return values


def _describe(error: ValidationError) -> str:
    lines = []
    for item in error.errors(include_url=False):
        field = ".".join(str(part) for part in item["loc"]) or "settings"
        value = repr(item.get("input"))
        shown = value if len(value) <= _SHOWN_VALUE_CHARS else value[:_SHOWN_VALUE_CHARS] + "..."
        lines.append(f"{field}: {item['msg']} (got {shown})")
    return "; ".join(lines)
