"""Process settings of the operator: the only module that reads its environment.

Precedence: command-line flag, then ``ALISE_OPERATOR_*`` environment variable, then the default
below. What the operator does with a pool stands in custom resources, not here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from alise_core.crds.base import ObjectName
from alise_core.errors import ConfigError

_PREFIX = "ALISE_OPERATOR_"
_SHOWN_VALUE_CHARS = 80

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class OperatorSettings(BaseSettings):
    """See the module."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="forbid")

    kubeconfig: Path | None = None
    """In a pod its own service account is used; elsewhere a file is needed."""
    context: str | None = None
    """Of the kubeconfig; its current one without it."""
    namespace: ObjectName | None = None
    """Whose objects are looked after; the operator's own namespace without it."""
    all_namespaces: bool = False
    """Look after the objects of every namespace; needs a ClusterRole."""

    lease_name: ObjectName = "alise-operator"
    lease_namespace: ObjectName | None = None
    """The operator's own namespace without it."""
    identity: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Who holds the Lease; the pod's name, with which a restarted container goes on at once. The
    host's name and something random without it: it must differ between all that take part."""
    lease_seconds: Annotated[float, Field(ge=3, le=600)] = 15
    """A leader that has not renewed for this long is replaced. It steps down by itself after two
    thirds of it, and renews every two fifteenths."""

    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 9090
    """``/metrics``, ``/healthz``, ``/readyz``; 0 takes any free port."""

    gateway_service: ObjectName = "alise-gateway"
    """The Service that stands as parent in the status of InferencePools."""
    gateway_namespace: ObjectName | None = None
    """Of that Service; the operator's own namespace without it."""
    gateway_selector: str = "app.kubernetes.io/component=gateway"
    """Labels of the gateways' pods, whose predicted demand the tuner reads: ``KEY=VALUE``, several
    with commas between them."""
    gateway_metrics_port: Annotated[int, Field(ge=1, le=65_535)] = 8081
    """Where gateways show their metrics: their admin port."""
    serve_inference_pools: bool = True
    """As at the gateways: off, InferencePools are not looked at, and need not be readable."""
    serve_picked_inference_pools: bool = False
    """As at the gateways: serve those of their own even where they have an endpoint picker."""

    resync_seconds: Seconds = 300
    """Every object is looked at again after this, whatever was or was not heard of it."""
    settle_seconds: Annotated[float, Field(ge=0, le=60)] = 0.1
    """A change waits this long for more of them: a rollout is some writes, not one per pod."""
    scrape_interval_seconds: Seconds = 60
    """How often the leader reads an engine's metrics for its memory's size and dtype, which change
    only when it restarts; restarts are read at once."""
    scrape_timeout_seconds: Seconds = 5
    secret_interval_seconds: Seconds = 60
    """How often it is asked again whether a Secret that is named exists."""
    tuner_interval_seconds: Seconds = 10
    """How often the tuner looks at a pool."""
    tuner_record: Path | None = None
    """A file to which every look of the tuner is added, one JSON object a line: what it saw,
    remembered and decided, for ``alise bench tuner --replay``. Nothing of any request."""
    tuner_record_most_bytes: Annotated[int, Field(ge=65_536, le=2**40)] = 16 * 1024 * 1024
    """Of that file; then it becomes ``FILE.1``, in place of the last one, and a new one begins."""
    change_workloads: bool = False
    """Policies in mode Auto may change Deployments and StatefulSets, which needs permissions that
    not every installation wants to give."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("gateway_selector")
    @classmethod
    def _understood(cls, text: str) -> str:
        parse_labels(text)
        return text

    @property
    def gateway_labels(self) -> dict[str, str]:
        """What ``gateway_selector`` asks for."""
        return parse_labels(self.gateway_selector)

    @model_validator(mode="after")
    def _one_idea_of_the_namespace(self) -> "OperatorSettings":
        if self.all_namespaces and self.namespace is not None:
            raise ValueError("give either namespace or all_namespaces")
        return self


def parse_labels(text: str) -> dict[str, str]:
    """``KEY=VALUE,KEY=VALUE`` as labels that a pod must have.

    Raises:
        ValueError: It is nothing of the kind; the text says what is understood.
    """
    labels = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        key, value = key.strip(), value.removeprefix("=").strip()
        if not equals or not key or key.endswith("!") or any(sign in value for sign in "=()"):
            raise ValueError(
                f"{part.strip()!r} is no KEY=VALUE; give labels as KEY=VALUE,KEY=VALUE"
            )
        labels[key] = value
    return labels


def load_settings(flags: Mapping[str, Any]) -> OperatorSettings:
    """The settings from flags, environment and defaults.

    Args:
        flags: Only what was given on the command line.

    Raises:
        ConfigError: A value is wrong; names it, and where it can come from.
    """
    try:
        return OperatorSettings(**flags)
    except ValidationError as error:
        raise ConfigError("; ".join(_problem(each) for each in error.errors())) from None


def _problem(error: Any) -> str:  # noqa: ANN401  pydantic's ErrorDetails, which it does not export
    field = ".".join(str(part) for part in error["loc"])
    text = str(error["msg"]).removeprefix("Value error, ")
    if not field:
        return text
    flag = field.replace("_", "-")
    value = repr(error["input"])[:_SHOWN_VALUE_CHARS]
    return f"{field} (--{flag} or {_PREFIX}{field.upper()}): {text}, not {value}"
