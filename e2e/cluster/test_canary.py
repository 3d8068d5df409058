"""A KV cache dtype is changed under load: one pod first, then all, or none. No request fails."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from running.cluster.api import Object, condition, path_of
from running.cluster.cluster import Cluster
from running.cluster.helm import Release
from running.cluster.installation import Installation
from running.cluster.load import COMPLETE, load
from running.cluster.namespaces import namespaces
from running.cluster.tuned import QUICK, Tuned, tune
from running.gateway import ALISE
from running.scrape import eventually

CLIENTS_PER_ENGINE = 4
TOKENS = 80
"""Of an answer: with its prompt of 18 tokens it fills seven blocks."""
LEASE_SECONDS = 5
RECORDING = "looks.jsonl"
VALUES: Object = {
    "crds": {"install": False},
    "gateway": {"config": {"identity": {"allow_anonymous": True}}},
    "operator": {
        "autoTuning": {"enabled": True},
        "extraEnv": [
            {"name": "ALISE_OPERATOR_TUNER_INTERVAL_SECONDS", "value": "1"},
            {"name": "ALISE_OPERATOR_LEASE_SECONDS", "value": str(LEASE_SECONDS)},
            {"name": "ALISE_OPERATOR_TUNER_RECORD", "value": f"/tmp/{RECORDING}"},  # noqa: S108
        ],
    },
}


@pytest.fixture(scope="module")
def tuned(site: Installation, cluster: Cluster) -> Iterator[Installation]:
    """An operator that may change workloads; ``site`` has the custom resources' definitions."""
    del site
    with namespaces(cluster.api, "tuned") as namespace:
        release = Release(cluster, namespace)
        release.install(VALUES)
        yield Installation(cluster, release, {}, VALUES)
        release.close()


def budget(pool: Tuned) -> Object:
    """Allows no disruption at all."""
    return {
        "apiVersion": "policy/v1beta1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": pool.name, "namespace": pool.site.namespace},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": pool.name}}},
    }


def without_dtype(pool: Tuned) -> Object:
    """The workload's spec without the argument, which is fp8 and stands last."""
    spec: Object = pool.now["spec"]
    assert spec["template"]["spec"]["containers"][0]["args"].pop() == "--kv-cache-dtype=fp8"
    return spec


def is_settled(pool: Tuned, dtype: str, replicas: int) -> bool:
    return pool.record is None and pool.dtypes == [dtype] * replicas


def kill_operator(pool: Tuned) -> None:
    """Without grace: SIGKILL, and the Lease is not given up."""
    (pod,) = pool.site.pods("operator")
    pods = f"/api/v1/namespaces/{pool.site.namespace}/pods"
    pool.api.delete(f"{pods}/{pod['metadata']['name']}", params={"gracePeriodSeconds": "0"})


def alise(*words: str) -> str:
    """What a command prints."""
    done = subprocess.run([ALISE, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def explained(pool: Tuned) -> str:
    """As a person is told, who has no more than a kubeconfig."""
    where = ("--namespace", pool.site.namespace, "--kubeconfig", str(pool.site.cluster.kubeconfig))
    return alise("operator", "explain", pool.name, *where)


def replayed(site: Installation) -> dict[str, Any] | None:
    """The looks of the operator that runs, decided again; ``None`` where its files are not seen."""
    (pod,) = site.pods("operator")
    folder = site.cluster.empty_dir(pod["metadata"]["uid"], "tmp")
    if folder is None:
        return None
    found: dict[str, Any] = json.loads(
        alise("bench", "tuner", "--replay", str(folder / RECORDING), "--json")
    )
    return found


@contextmanager
def cordoned(cluster: Cluster) -> Iterator[None]:
    """No node takes another pod."""
    assert cluster.control_plane.processes  # others than its own are left alone
    nodes = [node["metadata"]["name"] for node in cluster.api.items("/api/v1/nodes")]

    def set_all(spec: Object) -> None:
        for name in nodes:
            cluster.api.patch(f"/api/v1/nodes/{name}", {"spec": spec})

    set_all({"unschedulable": True})
    try:
        yield
    finally:
        set_all({"unschedulable": None})


def test_recommend_touches_nothing_and_a_budget_is_waited_for(tuned: Installation) -> None:
    with tune(tuned, "blocked", 2, mode="Recommend") as pool:
        pool.api.create(budget(pool))
        before, uids = pool.now["spec"], {pod["metadata"]["uid"] for pod in pool.pods}
        with load(tuned.url, 2 * CLIENTS_PER_ENGINE, tokens=TOKENS) as seen:
            pool.until(lambda it: "lastAction" in it.line, "it is recommended")
            looks = pool.looks()
            eventually(lambda: pool.looks() > looks + 5, 60, "five looks more")
            told = pool.line["lastAction"]
            assert told["action"] == "recommended: dtype auto -> fp8"
            command = f"kubectl -n {tuned.namespace} patch deployment/blocked"
            assert command in told["command"]
            said = explained(pool)
            print(said)
            assert "mode Recommend" in said
            assert "recommended: dtype auto -> fp8" in said
            assert command in said

            pool.set_policy(mode="Auto")
            pool.until(lambda it: it.line.get("waitingFor", "").startswith("Waiting"), "it waits")
            said = pool.line["waitingFor"]
            seen.more(4)

        print(f"endings: {dict(seen.counts)}; {said}")
        assert "PodDisruptionBudget blocked allows no disruption" in said
        assert set(seen.counts) == {COMPLETE}
        assert pool.now["spec"] == before
        assert {pod["metadata"]["uid"] for pod in pool.pods} == uids
        pool.api.delete(path_of(budget(pool)))


def test_a_person_sees_how_it_stands_and_may_stop_it(tuned: Installation) -> None:
    with tune(tuned, "stopped", 1, mode="Recommend") as pool:
        pool.until(lambda it: it.line.get("pressure") is not None, "its figures are trusted")
        shown = pool.columns()
        print(shown)
        assert (shown["Mode"], shown["Rung"], shown["Accepted"]) == ("Recommend", "base", "True")
        assert float(shown["Pressure"]) == pool.line["pressure"]

        rival = pool.rival("zealous", mode="Auto")
        pool.api.create(rival)
        eventually(
            lambda: condition(pool.api.read(path_of(rival)), "Accepted").get("status") == "False",
            30,
            "the younger policy is told that it is in vain",
        )
        told = condition(pool.api.read(path_of(rival)), "Accepted")
        print(told["message"])
        assert told["reason"] == "Conflicted"
        assert pool.columns()["Accepted"] == "True"
        pool.api.delete(path_of(rival))

        pool.annotate_pool("true")
        pool.until(lambda it: it.line.get("waitingFor", "").startswith("Paused"), "it is paused")
        pool.annotate_pool(None)
        pool.until(lambda it: not it.line["waitingFor"].startswith("Paused"), "it goes on")


def test_a_pod_that_no_node_takes_goes_back(tuned: Installation) -> None:
    short = {**QUICK["canary"], "timeoutSeconds": 15}
    with tune(tuned, "pending", 2, mode="Auto", canary=short) as pool:
        before = pool.now["spec"]
        with load(tuned.url, 2 * CLIENTS_PER_ENGINE, tokens=TOKENS) as seen:
            with cordoned(tuned.cluster):
                pool.until(lambda it: it.record is not None, "a change is under way")
                pool.until(lambda it: it.says("Degraded").get("status") == "True", "it failed")
                said = pool.says("Degraded")["message"]
            pool.until(lambda it: is_settled(it, "auto", 2), "both pods are as they were")
            seen.more(4)

        print(f"endings: {dict(seen.counts)}; {said}")
        assert "did not get ready" in said
        assert "Unschedulable" in said
        assert set(seen.counts) == {COMPLETE}
        assert pool.now["spec"] == before


def test_one_pod_has_it_first_and_then_the_others_one_by_one(tuned: Installation) -> None:
    serving: list[int] = []

    def rolled_out(it: Tuned) -> bool:
        serving.append(len(it.pods))
        return it.line.get("rung") == "dtype=fp8" and is_settled(it, "fp8", 3)

    with tune(tuned, "passes", 3, mode="Auto") as pool:
        before = pool.now["spec"]
        with load(tuned.url, 3 * CLIENTS_PER_ENGINE, tokens=TOKENS) as seen:
            pool.until(rolled_out, "all pods have fp8")
            seen.more(12)

        again = replayed(tuned)
        told = {event["reason"]: event["message"] for event in pool.events()}
        print(f"endings: {dict(seen.counts)}; fewest serving: {min(serving)}; told: {told}")
        assert min(serving) >= 2
        assert set(seen.counts) == {COMPLETE}
        assert without_dtype(pool) == before
        steps = {"CanaryStarting", "Observing", "Passed", "Rolling", "RolledOut"}
        assert steps <= set(told)
        assert "KL of drawn tokens" in told["Passed"]
        if again is not None:
            changes = [one for one in again["told"] if one["pool"].endswith("/passes")]
            assert again["decided_the_same"] == again["looks"] > 0
            assert changes[0]["before"]["step"] == "dtype auto -> fp8"


def test_a_misread_dtype_goes_back_before_anybody_else_gets_it(tuned: Installation) -> None:
    misread = ("--misread-kv-cache-dtype=fp8",)
    with tune(tuned, "misread", 2, extra=misread, mode="Auto") as pool:
        before, most = pool.now["spec"], [0]
        with load(tuned.url, 2 * CLIENTS_PER_ENGINE, tokens=TOKENS) as seen:

            def went_back(it: Tuned) -> bool:
                most.append(it.dtypes.count("fp8"))
                told = {event["reason"] for event in it.events()}
                return "RolledBack" in told and is_settled(it, "auto", 2)

            pool.until(went_back, "it goes back")
            seen.more(8)

        degraded = pool.says("Degraded")
        print(f"endings: {dict(seen.counts)}; {degraded['message']}")
        assert max(most) == 1
        assert set(seen.counts) == {COMPLETE}
        assert pool.now["spec"] == before
        assert (degraded["status"], degraded["reason"]) == ("True", "RolledBack")
        assert "KL of drawn tokens 0." in degraded["message"]


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_an_operator_that_is_killed_again_and_again_gets_there(
    tuned: Installation, kind: str
) -> None:
    with tune(tuned, f"killed-{kind.lower()}", 2, kind=kind, mode="Auto") as pool:
        before = pool.now["spec"]
        with load(tuned.url, 2 * CLIENTS_PER_ENGINE, tokens=TOKENS) as seen:
            pool.until(lambda it: it.record is not None, "a change is under way")
            kill_operator(pool)
            pool.until(lambda it: it.dtypes == ["auto", "fp8"], "the canary serves")
            pool.until(lambda it: len(it.site.pods("operator")) == 1, "an operator is back")
            kill_operator(pool)
            pool.until(lambda it: is_settled(it, "fp8", 2), "all pods have fp8")
            seen.more(8)

        print(f"endings: {dict(seen.counts)}")
        assert set(seen.counts) == {COMPLETE}
        assert without_dtype(pool) == before


def test_who_edits_the_workload_meanwhile_wins(tuned: Installation) -> None:
    with tune(tuned, "edited", 2, mode="Auto") as pool:
        edit = {"metadata": {"annotations": {"restarted-by": f"a person, {time.time():.0f}"}}}
        with load(tuned.url, 2 * CLIENTS_PER_ENGINE, tokens=TOKENS) as seen:
            pool.until(lambda it: it.dtypes == ["auto", "fp8"], "the canary serves")
            pool.api.patch(path_of(pool.workload), {"spec": {"template": edit}})

            def theirs(it: Tuned) -> bool:
                notes = [pod["metadata"].get("annotations", {}) for pod in it.pods]
                edited = all(
                    edit["metadata"]["annotations"].items() <= each.items() for each in notes
                )
                return edited and is_settled(it, "auto", 2)

            pool.until(theirs, "all pods have the edit, and none of ours")
            pool.until(lambda it: it.says("Degraded").get("status") == "True", "it is told")
            seen.more(8)

        print(f"endings: {dict(seen.counts)}; {pool.says('Degraded')['message']}")
        assert set(seen.counts) == {COMPLETE}
        assert "somebody changed the pod template" in pool.says("Degraded")["message"]
        spec = pool.now["spec"]
        assert spec.get("minReadySeconds", 0) == 0
        assert spec["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": "25%"}
