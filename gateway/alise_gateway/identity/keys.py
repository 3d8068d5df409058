"""API keys: a YAML file of hashes in, a table that finds the tenant of a presented key out.

::

    tenants:
      - id: team-a
        keys:
          - hash: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
            name: laptop                # optional, for people
            expires: 2027-01-01T00:00:00Z   # optional
        allowed_models: [llama-3-8b]    # optional; every model without it
        may_schedule: false             # optional; may send priority headers
        weight: 1                       # optional; its share of a class against other tenants'
        highest_class: default          # optional; best class that its requests may ask for
        default_class: default          # optional; of requests that ask for none
        requests_per_minute: 600        # optional, like the next three; no limit without it
        tokens_per_minute: 200000       # prompt and output together
        max_waiting: 100                # requests in the queue
        max_in_flight: 20               # requests on backends

Why a plain SHA-256 and no salt or slow hash: those make guessing expensive where people choose the
secret. A key from ``create_key`` holds 256 random bits, so there is nothing to guess, two tenants
never share one, and a lookup stays at about a microsecond, which a slow hash would turn into
milliseconds of the event loop per request. Source: NIST SP 800-63B section 5.1.2.2 (look-up
secrets with at least 112 bits of entropy need a one-way hash only).

This module reads no clock and logs nothing; errors never repeat a value of the ``hash`` field,
because a plaintext key may have been put there by mistake.
"""

import contextlib
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from alise_core.errors import ConfigError
from alise_core.service_class import ServiceClass
from alise_core.units import TenantId
from alise_gateway.domain.request import ANONYMOUS, Tenant, TenantLimits

KEY_PREFIX = "sk-alise-"
_KEY_RANDOM_BYTES = 32
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_TENANT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/|-]{0,127}")
_MAX_WEIGHT = 1_000
"""With a larger one a tenant's work counts as next to nothing, and nobody else is served."""
_MAX_COUNT = 1_000_000_000
"""Far beyond what a gateway serves: a larger number is a slip of the keyboard."""


def create_key() -> str:
    """A new random key, to be shown once and stored as its hash."""
    return KEY_PREFIX + secrets.token_urlsafe(_KEY_RANDOM_BYTES)


def hash_key(key: str) -> str:
    """The form in which the keys file holds ``key``."""
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def check_tenant_id(name: str) -> str:
    """Return ``name`` when it can name a tenant: it becomes a metric label and a log field.

    Raises:
        ValueError: Empty, too long, with other characters, or reserved.
    """
    if not _TENANT_ID.fullmatch(name):
        raise ValueError(
            "must be 1 to 128 letters, digits or any of . _ : @ / | - and start with a letter "
            "or digit"
        )
    if name == ANONYMOUS.id:
        raise ValueError(f"'{name}' is reserved for requests without credentials")
    return name


def _check_hash(value: str) -> str:
    if not _HASH.fullmatch(value):
        raise ValueError(
            "must be 'sha256:' and 64 lower-case hex digits, as 'alise keys hash' prints it; "
            "the key itself does not belong here"
        )
    return value


def _moment(value: object) -> object:
    if isinstance(value, str):
        value = _parsed_moment(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("needs a time zone, for example 2027-01-31T12:00:00Z")
        return value
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    raise ValueError("must look like 2027-01-31T12:00:00Z or 2027-01-31")


def _parsed_moment(text: str) -> date:
    # A datetime is a date too; a bare date must not become a moment without a time zone.
    for parse in (date.fromisoformat, datetime.fromisoformat):
        with contextlib.suppress(ValueError):
            return parse(text)
    raise ValueError("must look like 2027-01-31T12:00:00Z or 2027-01-31")


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class _KeyEntry(_Entry):
    hash: Annotated[str, AfterValidator(_check_hash)]
    name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    expires: Annotated[datetime, BeforeValidator(_moment)] | None = None


# Strict models take an enumeration's member only, and a file holds names.
_Class = Annotated[ServiceClass, Field(strict=False)]
_Rate = Annotated[float, Field(gt=0, le=_MAX_COUNT)]
_Count = Annotated[int, Field(ge=1, le=_MAX_COUNT)]


class _TenantEntry(_Entry):
    id: Annotated[str, AfterValidator(check_tenant_id)]
    keys: list[_KeyEntry] = []
    allowed_models: list[Annotated[str, Field(min_length=1)]] | None = None
    may_schedule: bool = False
    weight: Annotated[float, Field(gt=0, le=_MAX_WEIGHT)] = 1.0
    highest_class: _Class = ServiceClass.DEFAULT
    default_class: _Class | None = None
    requests_per_minute: _Rate | None = None
    tokens_per_minute: _Rate | None = None
    max_waiting: _Count | None = None
    max_in_flight: _Count | None = None

    @field_validator("default_class")
    @classmethod
    def _not_above_highest(
        cls, value: ServiceClass | None, info: ValidationInfo
    ) -> ServiceClass | None:
        # Absent where it is wrong itself, which has its own message.
        highest = info.data.get("highest_class")
        if value is not None and highest is not None and value.clamped(highest) is not value:
            raise ValueError(
                f"'{value}' is better than highest_class '{highest}'; raise that one or lower this"
            )
        return value

    def tenant(self) -> Tenant:
        """What the rest of the gateway knows of the entry."""
        default = ServiceClass.DEFAULT if self.default_class is None else self.default_class
        return Tenant(
            id=TenantId(self.id),
            allowed_models=None if self.allowed_models is None else frozenset(self.allowed_models),
            may_schedule=self.may_schedule,
            weight=self.weight,
            default_class=default.clamped(self.highest_class),
            highest_class=self.highest_class,
            limits=TenantLimits(
                requests_per_minute=self.requests_per_minute,
                tokens_per_minute=self.tokens_per_minute,
                max_waiting=self.max_waiting,
                max_in_flight=self.max_in_flight,
            ),
        )


class _KeysFile(_Entry):
    tenants: list[_TenantEntry]


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What one stored key opens.

    Attributes:
        digest: SHA-256 of the key.
        tenant: Whose it is.
        expires_unix: First second, since the epoch, at which it is refused; ``None`` for never.
    """

    digest: bytes
    tenant: Tenant
    expires_unix: float | None


class KeyTable:
    """Every stored key and every tenant of one version of the keys file; immutable."""

    __slots__ = ("_records", "_tenants")

    def __init__(self, records: list[KeyRecord], tenants: list[Tenant]) -> None:
        self._records = {record.digest: record for record in records}
        self._tenants = {tenant.id: tenant for tenant in tenants}

    def __len__(self) -> int:
        return len(self._records)

    def find(self, digest: bytes) -> KeyRecord | None:
        """The record of a presented key, given the SHA-256 of it.

        The dictionary compares digests, of which a caller cannot choose bits; the last word is
        a comparison in constant time all the same.
        """
        record = self._records.get(digest)
        if record is None or not hmac.compare_digest(record.digest, digest):
            return None
        return record

    def tenant(self, tenant_id: TenantId) -> Tenant | None:
        """The tenant called ``tenant_id``: its limits hold for its tokens as for its keys."""
        return self._tenants.get(tenant_id)


NO_KEYS = KeyTable([], [])


def parse_keys(content: bytes, source: str) -> KeyTable:
    """Understand a keys file.

    Args:
        content: The file's bytes.
        source: Its path, for messages.

    Raises:
        ConfigError: Names the file, the tenant, the field and the remedy for every mistake.
    """
    raw = load_keys_yaml(content, source)
    try:
        file = _KeysFile.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"keys file {source}: {_describe(error, raw)}") from error
    _check_distinct(file, source)
    records: list[KeyRecord] = []
    tenants: list[Tenant] = []
    for entry in file.tenants:
        tenant = entry.tenant()
        tenants.append(tenant)
        for key in entry.keys:
            expires = None if key.expires is None else key.expires.timestamp()
            digest = bytes.fromhex(key.hash.removeprefix("sha256:"))
            records.append(KeyRecord(digest, tenant, expires))
    return KeyTable(records, tenants)


def load_keys_yaml(content: bytes, source: str) -> dict[str, Any]:
    """The mapping at the top of a keys file, not yet validated.

    Raises:
        ConfigError: No UTF-8, no YAML, or no mapping; without any of the file's text.
    """
    try:
        # libyaml's loader: a file with thousands of tenants takes milliseconds, not seconds.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        raw = yaml.load(content.decode(), Loader=loader)  # noqa: S506  both loaders are safe
    except UnicodeDecodeError as error:
        raise ConfigError(f"keys file {source} is not UTF-8 text") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigError(f"keys file {source} is not valid YAML near line {line}") from None
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"keys file {source} is not valid YAML") from None
    if not isinstance(raw, dict):
        raise ConfigError(
            f"keys file {source} must hold a mapping with 'tenants'; "
            "'alise keys create --tenant NAME' prints one"
        )
    return raw


def _check_distinct(file: _KeysFile, source: str) -> None:
    tenants: set[str] = set()
    owners: dict[str, str] = {}
    for entry in file.tenants:
        if entry.id in tenants:
            raise ConfigError(
                f"keys file {source}: tenant '{entry.id}': id appears more than once; "
                "put all its keys into one entry"
            )
        tenants.add(entry.id)
        for index, key in enumerate(entry.keys):
            if key.hash in owners:
                raise ConfigError(
                    f"keys file {source}: tenant '{entry.id}': keys.{index}.hash is a key of "
                    f"tenant '{owners[key.hash]}' already; a key belongs to one tenant, once"
                )
            owners[key.hash] = entry.id


def _describe(error: ValidationError, raw: dict[str, Any]) -> str:
    lines = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        where = list(item["loc"])
        label = ""
        if len(where) > 1 and where[0] == "tenants" and isinstance(where[1], int):
            label = f"tenant {_tenant_label(raw, where[1])}: "
            where = where[2:]
        field = ".".join(str(part) for part in where) or "entry"
        lines.append(f"{label}{field}: {item['msg'].removeprefix('Value error, ')}")
    return "; ".join(lines)


def _tenant_label(raw: dict[str, Any], index: int) -> str:
    entry = raw["tenants"][index]
    name = entry.get("id") if isinstance(entry, dict) else None
    if isinstance(name, str) and _TENANT_ID.fullmatch(name):
        return f"'{name}'"
    return f"number {index + 1}"
