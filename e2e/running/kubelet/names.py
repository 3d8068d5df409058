"""The cluster's name server, as far as pods need one: IPv4 addresses of Services, over UDP.

Usage: ``python -m running.kubelet.names --kubeconfig FILE --address ADDRESS``. Names outside of the
cluster do not exist.
"""

import argparse
import asyncio
import ipaddress
import struct
from pathlib import Path
from typing import cast

from running.node.client import Client
from running.node.directory import DOMAIN, Directory

PORT = 53
HEADER = struct.Struct("!6H")
QUESTION = struct.Struct("!2H")
RECORD = struct.Struct("!3HIH")
ADDRESS_TYPE, ANY_TYPE, INTERNET = 1, 255, 1
NAME_OF_THE_QUESTION = 0xC00C
"""A pointer to the first name of the message; see RFC 1035, 4.1.4."""
ANSWER, RECURSION_DESIRED = 0x8400, 0x0100
NO_SUCH_NAME = 3
SECONDS_TO_KEEP = 1


class NameServer(asyncio.DatagramProtocol):
    """Answers from what the API server has told."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own is not of the class that it documents.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        assert self._transport is not None
        try:
            self._transport.sendto(answer(data, self._directory), address)
        except (struct.error, ValueError, IndexError) as error:
            print(f"not a question: {error!r}", flush=True)


def answer(message: bytes, directory: Directory) -> bytes:
    """The answer to one question.

    Raises:
        ValueError: The message is none.
    """
    number, flags, *counts = HEADER.unpack_from(message)
    if counts[0] != 1:
        raise ValueError(f"{counts[0]} questions")
    name, end = _name(message, HEADER.size)
    kind, _ = QUESTION.unpack_from(message, end)
    question = message[HEADER.size : end + QUESTION.size]
    addresses = _addresses(name.lower(), directory)
    known = addresses is not None
    found = (addresses or []) if kind in {ADDRESS_TYPE, ANY_TYPE} else []
    result = ANSWER | (flags & RECURSION_DESIRED) | (0 if known else NO_SUCH_NAME)
    records = b"".join(
        RECORD.pack(NAME_OF_THE_QUESTION, ADDRESS_TYPE, INTERNET, SECONDS_TO_KEEP, 4)
        + ipaddress.IPv4Address(each).packed
        for each in found
    )
    return HEADER.pack(number, result, 1, len(found), 0, 0) + question + records


def _addresses(name: str, directory: Directory) -> list[str] | None:
    """What a name stands for; ``None`` where there is no such name."""
    service, _, rest = name.partition(".")
    namespace, _, domain = rest.partition(".")
    key = (namespace, service)
    if domain != f"svc.{DOMAIN}" or not directory.spec(key):
        return None
    return directory.addresses(key)


def _name(message: bytes, at: int) -> tuple[str, int]:
    """The name that begins at a place, and where it ends."""
    labels = []
    while length := message[at]:
        labels.append(message[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    return ".".join(labels), at + 1


async def serve(kubeconfig: Path, address: str) -> None:
    """Answer until the process is ended."""
    directory, client = Directory(), Client(kubeconfig)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: NameServer(directory), local_addr=(address, PORT))
    print("name server ready", flush=True)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            client.follow("/api/v1/services", directory.service_changed, directory.service_gone)
        )
        tasks.create_task(
            client.follow(
                "/api/v1/endpoints", directory.endpoints_changed, directory.endpoints_gone
            )
        )


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--address", required=True)
    options = parser.parse_args()
    asyncio.run(serve(options.kubeconfig, options.address))


if __name__ == "__main__":
    main()
