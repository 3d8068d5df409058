"""``helm install`` into a cluster that runs engines, then chat through the Service."""

from typing import Any

from running.cluster.api import condition, path_of
from running.cluster.installation import Installation
from running.cluster.objects import MODEL

TURN: list[Any] = [{"role": "user", "content": "Say something."}]


def test_chat_through_the_service(site: Installation) -> None:
    with site.client() as client:
        assert MODEL in {model.id for model in client.models.list()}

        answer = client.chat.completions.create(model=MODEL, messages=TURN, max_tokens=20)
        assert answer.choices[0].message.content

        stream = client.chat.completions.create(
            model=MODEL, messages=TURN, max_tokens=20, stream=True
        )
        text = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
        assert "".join(text)


def test_helm_test_passes(site: Installation) -> None:
    site.release.test()


def test_the_operator_says_how_the_pool_is(site: Installation) -> None:
    pool = f"/apis/alise.dev/v1alpha1/namespaces/{site.namespace}/modelpools/engines"

    found = site.api.wait(
        pool,
        lambda item: (
            item.get("status", {}).get("endpoints", {}).get("ready") == 2
            and item["status"].get("models") == [MODEL]
        ),
        30,
        "the status tells of both engines",
    )

    assert condition(found, "Accepted")["status"] == "True"
    assert condition(found, "ResolvedRefs")["status"] == "True"
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    assert found["status"]["kvCapacityTokens"] > 0


def test_network_policies_and_disruption_budgets_are_accepted(site: Installation) -> None:
    policies = f"/apis/networking.k8s.io/v1/namespaces/{site.namespace}/networkpolicies"
    budgets = f"/apis/policy/v1beta1/namespaces/{site.namespace}/poddisruptionbudgets"

    assert {item["metadata"]["name"] for item in site.api.items(policies)} >= {
        "alise-gateway",
        "alise-operator",
    }
    assert {item["metadata"]["name"] for item in site.api.items(budgets)} == {
        "alise-gateway",
        "alise-operator",
    }


def test_uninstall_leaves_custom_resources_for_the_next_installation(
    site: Installation,
) -> None:
    pool = f"/apis/alise.dev/v1alpha1/namespaces/{site.namespace}/modelpools/engines"
    before = site.api.read(pool)["metadata"]["uid"]

    site.release.uninstall()

    assert site.api.find(path_of(site.engines)) is not None
    assert site.api.read(pool)["metadata"]["uid"] == before
    site.install_again()
    assert site.api.read(pool)["metadata"]["uid"] == before
    test_chat_through_the_service(site)
