"""Reading files that nobody vouches for yet: bounded, and never waiting."""

import os
import stat
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from alise_predictor.artifact.errors import REINSTALL, ArtifactError
from alise_predictor.artifact.manifest import FileFacts

_CHUNK = 1 << 20


def read_at_most(path: Path, most: int) -> bytes:
    """Content of a file.

    Args:
        path: A regular file.
        most: Bytes it may have.

    Raises:
        ArtifactError: It cannot be read or is larger.
    """
    return b"".join(_chunks(path, most))


def read_verified(path: Path, facts: FileFacts) -> bytes:
    """Content of a file that is what the manifest says.

    Raises:
        ArtifactError: It cannot be read or differs.
    """
    content = b"".join(_chunks(path, facts.bytes))
    _compare(path, facts, len(content), sha256(content).hexdigest())
    return content


def verify(path: Path, facts: FileFacts) -> None:
    """Hold a file against the manifest without keeping its content.

    Raises:
        ArtifactError: It cannot be read or differs.
    """
    digest, size = sha256(), 0
    for chunk in _chunks(path, facts.bytes):
        digest.update(chunk)
        size += len(chunk)
    _compare(path, facts, size, digest.hexdigest())


def _chunks(path: Path, most: int) -> Iterator[bytes]:
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _fault(path, "no regular file", "a file")
            if status.st_size > most:
                raise _fault(path, f"{status.st_size} bytes", f"at most {most} bytes")
            left = most
            while chunk := file.read(min(_CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise _fault(path, "a file that grows", f"at most {most} bytes")
                yield chunk
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise _fault(path, reason, "a readable file") from error


def _open_at_once(path: str, flags: int) -> int:
    """A pipe would be waited for until somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _compare(path: Path, facts: FileFacts, size: int, digest: str) -> None:
    if size != facts.bytes:
        raise _fault(path, f"{size} bytes", f"{facts.bytes} bytes")
    if digest != facts.sha256:
        raise _fault(path, f"sha256 {digest}", f"sha256 {facts.sha256}")


def _fault(path: Path, found: str, expected: str) -> ArtifactError:
    return ArtifactError(str(path), found=found, expected=expected, remedy=REINSTALL)
