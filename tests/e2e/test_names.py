"""The name server of the cluster tests, asked as a resolver asks."""

import struct

import pytest

from running.kubelet.names import answer
from running.node.directory import Directory

A, AAAA = 1, 28
RECURSION_DESIRED = 0x0100


@pytest.fixture
def directory() -> Directory:
    found = Directory()
    for name, address in (("gateway", "10.96.3.4"), ("peers", "None")):
        metadata = {"namespace": "llm", "name": name}
        found.service_changed({"metadata": metadata, "spec": {"clusterIP": address}})
        addresses = [{"ip": "10.244.0.7"}, {"ip": "10.244.0.9"}]
        found.endpoints_changed({"metadata": metadata, "subsets": [{"addresses": addresses}]})
    return found


def question(name: str, kind: int = A) -> bytes:
    labels = b"".join(bytes([len(each)]) + each.encode() for each in name.split("."))
    header = struct.pack("!6H", 4711, RECURSION_DESIRED, 1, 0, 0, 0)
    return header + labels + b"\0" + struct.pack("!2H", kind, 1)


def ask(directory: Directory, name: str, kind: int = A) -> tuple[int, list[str]]:
    """Result code and addresses."""
    asked = question(name, kind)
    said = answer(asked, directory)
    number, flags, questions, answers, _, _ = struct.unpack_from("!6H", said)
    assert (number, questions) == (4711, 1)
    assert flags & 0x8000
    assert said[12 : len(asked)] == asked[12:]
    records = said[len(asked) :]
    assert len(records) == 16 * answers
    addresses = [records[at + 12 : at + 16] for at in range(0, len(records), 16)]
    return flags & 0xF, [".".join(str(byte) for byte in each) for each in addresses]


def test_a_service_is_its_address(directory: Directory) -> None:
    assert ask(directory, "gateway.llm.svc.cluster.local") == (0, ["10.96.3.4"])
    assert ask(directory, "Gateway.LLM.svc.cluster.local") == (0, ["10.96.3.4"])


def test_a_headless_service_is_its_pods(directory: Directory) -> None:
    found = ask(directory, "peers.llm.svc.cluster.local")
    assert found == (0, ["10.244.0.7", "10.244.0.9"])


def test_there_are_no_other_addresses_of_a_name(directory: Directory) -> None:
    assert ask(directory, "gateway.llm.svc.cluster.local", AAAA) == (0, [])


@pytest.mark.parametrize(
    "name",
    [
        "other.llm.svc.cluster.local",
        "gateway.elsewhere.svc.cluster.local",
        "gateway.llm",
        "gateway.llm.svc",
        "example.com",
        "a.gateway.llm.svc.cluster.local",
    ],
)
def test_other_names_do_not_exist(directory: Directory, name: str) -> None:
    assert ask(directory, name) == (3, [])


def test_a_service_that_is_gone_is_not_known_any_more(directory: Directory) -> None:
    directory.service_gone({"metadata": {"namespace": "llm", "name": "gateway"}})
    assert ask(directory, "gateway.llm.svc.cluster.local") == (3, [])


@pytest.mark.parametrize("message", [b"", b"\0" * 12, question("gateway.llm")[:-3]])
def test_what_is_no_question_has_no_answer(directory: Directory, message: bytes) -> None:
    with pytest.raises((ValueError, IndexError, struct.error)):
        answer(message, directory)
