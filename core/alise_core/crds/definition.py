"""The ``CustomResourceDefinition`` objects of the kinds that ALISE defines."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from alise_core.crds.base import Spec
from alise_core.crds.columns import COLUMNS
from alise_core.crds.kv_cache_policy import KVCachePolicySpec, KVCachePolicyStatus
from alise_core.crds.model_pool import ModelPoolSpec, ModelPoolStatus
from alise_core.crds.names import GROUP, PLURALS, VERSION, Kind
from alise_core.crds.scheduling_policy import SchedulingPolicySpec, SchedulingPolicyStatus
from alise_core.crds.schema import RuleSupport, Schema, structural, with_rules
from alise_core.crds.tenant import TenantSpec, TenantStatus

CATEGORY = "alise"
"""``kubectl get alise`` lists objects of all kinds."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One kind: its models, its short name, and what it is for in a sentence."""

    spec: type[Spec]
    status: type[Spec]
    short_name: str
    description: str


DEFINITIONS: Mapping[Kind, Definition] = MappingProxyType(
    {
        Kind.MODEL_POOL: Definition(
            ModelPoolSpec,
            ModelPoolStatus,
            "mpool",
            "Pods that serve the same models: which pods they are, where they listen, and under "
            "which names clients reach them.",
        ),
        Kind.SCHEDULING_POLICY: Definition(
            SchedulingPolicySpec,
            SchedulingPolicyStatus,
            "schedpol",
            "The order in which the requests for pools are served, how tenants share them, and how "
            "much each endpoint is given at a time.",
        ),
        Kind.KV_CACHE_POLICY: Definition(
            KVCachePolicySpec,
            KVCachePolicyStatus,
            "kvpol",
            "What the tuner may change about the KV cache of pools (dtypes, host memory, active "
            "requests), and how carefully.",
        ),
        Kind.TENANT: Definition(
            TenantSpec,
            TenantStatus,
            "tnt",
            "Somebody who may call: with which keys, which models, in which classes and how much. "
            "The object's name is the tenant's id.",
        ),
    }
)


def custom_resource_definition(kind: Kind, rules: RuleSupport = RuleSupport.FULL) -> dict[str, Any]:
    """The object to apply.

    Args:
        kind: One of ``DEFINITIONS``.
        rules: What the API server knows of rules.
    """
    plural = PLURALS[kind]
    schema = with_rules(object_schema(kind), rules)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": str(kind),
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": str(kind).lower(),
                "shortNames": [DEFINITIONS[kind].short_name],
                "categories": [CATEGORY],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        column.as_printer_column() for column in COLUMNS[kind]
                    ],
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def object_schema(kind: Kind) -> Schema:
    """The structural schema of a whole object of ``kind``."""
    item = DEFINITIONS[kind]
    spec = structural(item.spec)
    optional = may_be_empty(item.spec)
    if optional:
        # An object without a spec gets all defaults too.
        spec = {"description": spec.pop("description"), "type": "object", "default": {}, **spec}
    schema: Schema = {
        "description": item.description,
        "type": "object",
        "properties": {
            "apiVersion": {"description": "Group and version of the schema.", "type": "string"},
            "kind": {"description": f"Always {kind}.", "type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": structural(item.status, is_status=True),
        },
    }
    return schema if optional else {**schema, "required": ["spec"]}


def may_be_empty(spec: type[Spec]) -> bool:
    """Whether a spec that says nothing is valid."""
    try:
        spec.model_validate({})
    except ValidationError:
        return False
    return True
