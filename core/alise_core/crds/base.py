"""What the specs of all kinds have in common."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.alias_generators import to_camel, to_snake
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from alise_core.crds.names import GROUP, GROUP_OF, INFERENCE_POOL_GROUP, Kind
from alise_core.crds.rules import VALIDATIONS, Rule, rule, rules_of

RULES_BROKEN = "rules_broken"
"""The ``type`` of pydantic's error for broken rules; its ``ctx["broken"]`` lists ``Broken``."""

LIST_TYPE = "x-kubernetes-list-type"
LIST_MAP_KEYS = "x-kubernetes-list-map-keys"
AS_SET: dict[str, Any] = {LIST_TYPE: "set"}
"""``json_schema_extra`` of a list without order whose entries differ."""

UNSTATED_DEFAULT = "x-alise-unstated-default"
"""In ``json_schema_extra``: the default holds where we read, and is not in the CRD."""


def keyed_by(key: str) -> dict[str, Any]:
    """``json_schema_extra`` of a list whose entries differ in their field ``key`` (camelCase)."""
    return {LIST_TYPE: "map", LIST_MAP_KEYS: [key]}


class Broken(NamedTuple):
    """What of an object contradicts a rule: ``path`` is camelCase, below the object."""

    path: str
    kind: str
    value: object
    message: str


class Spec(BaseModel):
    """A part of a custom resource: camelCase outside, snake_case inside, nothing unknown."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        allow_inf_nan=False,
        ignored_types=(Rule,),
    )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Pydantic's hook: the rules travel with the schema of their class."""
        found = handler(core_schema)
        rules = [item.as_validation() for item in rules_of(cls)]
        if rules:
            handler.resolve_ref_schema(found)[VALIDATIONS] = rules
        return found

    @model_validator(mode="after")
    def _obeys_its_rules(self) -> Self:
        broken = [*self._duplicates(), *self._broken_rules()]
        if broken:
            text = "; ".join(f"{item.path} {item.message}".strip() for item in broken)
            raise PydanticCustomError(RULES_BROKEN, "{text}", {"text": text, "broken": broken})
        return self

    def _broken_rules(self) -> Iterator[Broken]:
        for item in rules_of(type(self)):
            if item.holds(self):
                continue
            value = getattr(self, to_snake(item.field)) if item.field else None
            other = getattr(self, to_snake(item.compared_with)) if item.compared_with else None
            tail = f" ({other})" if item.compared_with else ""
            yield Broken(item.field, "Invalid value", value, item.message + tail)

    def _duplicates(self) -> Iterator[Broken]:
        """The API server's own rule for lists that are maps or sets."""
        for name, info in type(self).model_fields.items():
            key = _list_key(info)
            if key is None:
                continue
            seen: set[object] = set()
            for place, entry in enumerate(getattr(self, name) or ()):
                value = getattr(entry, to_snake(key)) if key else entry
                if value in seen:
                    path = f"{info.alias}[{place}]" + (f".{key}" if key else "")
                    yield Broken(path, "Duplicate value", value, "must be there once")
                seen.add(value)


def _list_key(info: FieldInfo) -> str | None:
    """The key of a list that is a map, empty for a set, ``None`` for any other field."""
    extra = info.json_schema_extra
    if not isinstance(extra, dict) or LIST_TYPE not in extra:
        return None
    keys = extra.get(LIST_MAP_KEYS, [""])
    return str(keys[0]) if isinstance(keys, list) else None


OBJECT_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
SECRET_ENTRY = r"^[-._a-zA-Z0-9]+$"

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=OBJECT_NAME)]
SecretEntry = Annotated[str, Field(min_length=1, max_length=253, pattern=SECRET_ENTRY)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Ratio = Annotated[float, Field(ge=0, le=1)]


def at_most(count: int) -> BeforeValidator:
    """Cuts what is too long for a status: a long answer is better than none."""
    return BeforeValidator(lambda value: value[:count] if isinstance(value, Sequence) else value)


Text = Annotated[str, at_most(1_024), Field(max_length=1_024)]
"""What a status says in words."""


class SecretRef(Spec):
    """A Secret of the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: SecretEntry | None = Field(
        default=None, description="One entry of the Secret; all of its entries without it."
    )


class TargetRef(Spec):
    """A pool of the same namespace that a policy is for."""

    group: str = Field(
        default=GROUP,
        max_length=253,
        description=f"API group of the pool: {GROUP} for a ModelPool, {INFERENCE_POOL_GROUP} for "
        "an InferencePool.",
    )
    kind: Literal[Kind.MODEL_POOL, Kind.INFERENCE_POOL] = Field(
        default=Kind.MODEL_POOL, description="Kind of the pool: ModelPool or InferencePool."
    )
    name: ObjectName = Field(description="Name of the pool.")

    @rule(
        f"self.group == (self.kind == 'InferencePool' ? '{INFERENCE_POOL_GROUP}' : '{GROUP}')",
        field="group",
        message=f"must be {GROUP} for a ModelPool and {INFERENCE_POOL_GROUP} for an InferencePool",
    )
    def group_is_that_of_the_kind(self) -> bool:
        """Kinds of other groups cannot be governed."""
        return self.group == GROUP_OF[self.kind]


class PolicySpec(Spec):
    """What every policy for pools says."""

    target_refs: tuple[TargetRef, ...] = Field(
        default=(),
        max_length=16,
        description="The pools that this policy is for, of its own namespace. Without any it is "
        "for every pool there that no other policy names. Where several are for one pool, one "
        "that names it wins, then the oldest.",
    )

    @rule(
        "!has(self.targetRefs) || self.targetRefs.all(a, self.targetRefs.exists_one(b, "
        "b.kind == a.kind && b.name == a.name))",
        field="targetRefs",
        message="must name each pool once",
    )
    def names_each_pool_once(self) -> bool:
        """What is said twice is a mistake in one of the two places."""
        return len({(ref.kind, ref.name) for ref in self.target_refs}) == len(self.target_refs)
