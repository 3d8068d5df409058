"""The README's quickstart on Kubernetes, run as it stands there, and everything removed again.

Runs before all others: it is about a cluster that has never seen ALISE.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from running.cluster import helm_command, quickstart
from running.cluster.cluster import Cluster
from running.cluster.helm import values_of
from running.cluster.own import BINARIES
from running.scrape import eventually

NAMESPACE = "llm"
GATEWAY = "http://localhost:8080"
READY_SECONDS = 150.0
GONE_SECONDS = 60.0
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
FORWARD = "kubectl -n llm port-forward svc/alise-gateway 8080"


@pytest.fixture
def directory(cluster: Cluster, tmp_path: Path) -> Path:
    """Where the commands run: looks like a checkout, with the engine simulated."""
    if cluster.api.find(f"{DEFINITIONS}/modelpools.alise.dev") is not None:
        pytest.skip("ALISE is in this cluster already")
    (tmp_path / "charts").symlink_to(quickstart.ROOT / "charts")
    manifest = tmp_path / quickstart.MANIFEST
    manifest.parent.mkdir()
    manifest.write_text(quickstart.simulated(cluster.image("alise-sim")), encoding="utf-8")
    programs = tmp_path / "bin"
    programs.mkdir()
    helm = programs / "helm"
    helm.write_text(
        f'#!/bin/sh\nexec {sys.executable} -m running.cluster.helm_command "$@"\n', encoding="utf-8"
    )
    helm.chmod(0o755)
    return tmp_path


@pytest.fixture
def run(cluster: Cluster, directory: Path) -> Iterator["Run"]:
    """Runs commands there; removes afterwards what they have installed."""
    kubectl = [os.environ[BINARIES]] if BINARIES in os.environ else []
    path = [str(directory / "bin"), *kubectl, os.environ["PATH"]]
    made = Run(
        directory,
        {
            **os.environ,
            "PATH": os.pathsep.join(path),
            "KUBECONFIG": str(cluster.kubeconfig),
            "PYTHONPATH": str(quickstart.ROOT / "e2e"),
            "HOME": str(directory),
            # Where images have no registry the command is what a reader types, and no more.
            helm_command.VALUES: json.dumps(values_of(cluster) if cluster.registry else {}),
        },
    )
    yield made
    # docs/install.md: to remove everything.
    made(f"helm uninstall alise -n {NAMESPACE}")
    names = " ".join(
        item["metadata"]["name"]
        for item in cluster.api.items(DEFINITIONS)
        if item["spec"]["group"] == "alise.dev"
    )
    made(f"kubectl delete crd {names} && kubectl delete namespace {NAMESPACE} --wait=false")
    eventually(
        lambda: cluster.api.find(f"{DEFINITIONS}/modelpools.alise.dev") is None,
        GONE_SECONDS,
        "the definitions are gone",
    )


class Run:
    """Runs a script in a directory; fails with what it wrote."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self._directory = directory
        self._environment = environment

    def __call__(self, script: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self._directory,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def test_the_commands_of_the_readme_end_in_an_answer(cluster: Cluster, run: Run) -> None:
    install, apply, show = quickstart.readme_commands()
    commands = quickstart.manifest_commands()
    assert apply in commands
    ask = next(at for at, line in enumerate(commands) if line.startswith("curl "))
    assert f"`{FORWARD}`" in (quickstart.ROOT / quickstart.MANIFEST).read_text(encoding="utf-8")

    run(install)
    # In the place of a port that is forwarded, which only a kubelet does.
    url = cluster.url(NAMESPACE, "alise-gateway", "http")
    before = quickstart.until_ready("\n".join(commands[:ask]), "small", READY_SECONDS)
    chat = " ".join(commands[ask:]).replace(GATEWAY, url).replace("curl ", "curl -sS --fail ", 1)
    *_, answer = run(f"{before}\n{chat}").splitlines()

    assert json.loads(answer)["choices"][0]["message"]["content"]
    shown = run(f"{apply}\n{show}")
    assert "deployment.apps/vllm unchanged" in shown
    for kind in ("modelpool", "schedulingpolicy", "kvcachepolicy", "tenant"):
        assert f"{kind}.alise.dev/" in shown
    policies = f"/apis/alise.dev/v1alpha1/namespaces/{NAMESPACE}/kvcachepolicies"
    cluster.api.wait(
        f"{policies}/small",
        lambda item: bool(item.get("status", {}).get("pools")),
        READY_SECONDS,
        "the operator says what it would do about KV memory",
    )
