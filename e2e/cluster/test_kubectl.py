"""What docs/crds.md promises of ``kubectl``: kinds explain themselves, and are listed in words."""

import os
import subprocess

import pytest

from alise_core.crds.columns import COLUMNS
from alise_core.crds.definition import DEFINITIONS, object_schema
from alise_core.crds.names import Kind
from running.cluster.installation import Installation
from running.cluster.own import BINARIES

SECONDS = 60
"""It reads the descriptions of all kinds first."""


def kubectl(site: Installation, *arguments: str) -> str:
    """What it prints, with one space wherever it breaks lines or fills columns."""
    programs = [os.environ[BINARIES]] if BINARIES in os.environ else []
    found = subprocess.run(
        ["kubectl", f"--kubeconfig={site.cluster.kubeconfig}", *arguments],
        env={**os.environ, "PATH": os.pathsep.join([*programs, os.environ["PATH"]])},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return " ".join(found.stdout.split())


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_every_field_of_a_spec_is_explained(site: Installation, kind: Kind) -> None:
    fields = object_schema(kind)["properties"]["spec"]["properties"]

    said = kubectl(site, "explain", f"{kind.value.lower()}.spec")

    assert fields
    for name, node in fields.items():
        assert name in said
        assert " ".join(node["description"].split()) in said


def test_objects_are_listed_by_their_category_and_short_name(site: Installation) -> None:
    every = kubectl(site, f"--namespace={site.namespace}", "get", "alise")
    pools = kubectl(site, f"--namespace={site.namespace}", "get", "mpool")

    assert "modelpool.alise.dev/engines" in every
    columns = [column for column in COLUMNS[Kind.MODEL_POOL] if not column.wide]
    assert pools.startswith(" ".join(["NAME", *(column.name.upper() for column in columns)]))
    assert " engines " in pools
