"""Several releases live side by side."""

import itertools

import pytest

from charts.helm import Helm, Rendered, read_values

CLUSTER_KINDS = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
PLACES = [("alise", "a"), ("alise", "b"), ("blue", "a"), ("green", "a"), ("alise-blue", "a")]


def render(helm: Helm, name: str, namespace: str) -> Rendered:
    values = read_values("everything") | {"crds": {"install": False}}
    return helm.render(values, name=name, namespace=namespace)


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(PLACES, 2)))
def test_two_releases_share_no_object(
    one: tuple[str, str], other: tuple[str, str], helm: Helm
) -> None:
    names = []
    for release, namespace in (one, other):
        names.append(
            {
                (
                    item["kind"],
                    "" if item["kind"] in CLUSTER_KINDS else namespace,
                    item["metadata"]["name"],
                )
                for item in render(helm, release, namespace).objects
            }
        )

    assert names[0] & names[1] == set()


def test_two_releases_of_one_namespace_select_their_own_pods(helm: Helm) -> None:
    blue, green = render(helm, "blue", "a"), render(helm, "green", "a")
    pods = [item["spec"]["template"]["metadata"]["labels"] for item in green.of("Deployment")]
    for item in blue.of("Service"):
        assert not any(item["spec"]["selector"].items() <= labels.items() for labels in pods)


def test_peers_and_leases_are_of_one_release(helm: Helm) -> None:
    blue, green = render(helm, "blue", "a"), render(helm, "green", "a")

    def private(rendered: Rendered, name: str) -> set[str]:
        config = rendered.one("ConfigMap", f"{name}-alise-gateway")["data"]["gateway.yaml"]
        operator = rendered.one("Deployment", f"{name}-alise-operator")
        (container,) = operator["spec"]["template"]["spec"]["containers"]
        lease = [item for item in container["env"] if item["name"] == "ALISE_OPERATOR_LEASE_NAME"]
        peers = [line for line in config.splitlines() if "peers_selector" in line]
        return {*peers, lease[0]["value"]}

    assert len(private(blue, "blue")) == 2
    assert private(blue, "blue") & private(green, "green") == set()


def test_long_names_stay_legal_and_apart(helm: Helm) -> None:
    rendered = helm.render(name="x" * 53, namespace="y" * 63)

    assert max(len(item["metadata"]["name"]) for item in rendered.objects) <= 63
