"""A file whose content is watched by reading it: bytes out, once per change.

The content itself is compared, not mtime or inode: Kubernetes swaps a symlink above the file,
editors rename over it, a script may rewrite it in place within one tick of the file system's
clock; all of these are the same thing here. Key files are small, so a read every few seconds
costs less than being wrong.
"""

from pathlib import Path

from alise_core.errors import ConfigError

MAX_BYTES = 16 * 1024 * 1024
"""A hundred thousand hashed keys fit; more is not a key file."""


def read_file(path: Path, what: str) -> bytes:
    """Read a small configuration file.

    Args:
        path: Where it is; symlinks are followed.
        what: How error messages call it.

    Raises:
        ConfigError: Unreadable or larger than ``MAX_BYTES``.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"cannot read {what} {path}: {error.strerror}; check the path and its permissions"
        ) from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{what} {path} is larger than {MAX_BYTES} bytes")
    return content


class WatchedFile:
    """Remembers what a file held when it was last read.

    Args:
        path: Where it is.
        what: How error messages call it.
    """

    __slots__ = ("_failure", "_seen", "path", "what")

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self.what = what
        self._seen: bytes | None = None
        self._failure: str | None = None

    def read_if_changed(self) -> bytes | None:
        """The content when it differs from the last read's, else ``None``.

        Raises:
            ConfigError: The file became unreadable; raised once until that changes.
        """
        try:
            content = read_file(self.path, self.what)
        except ConfigError as error:
            if str(error) == self._failure:
                return None
            self._failure = str(error)
            raise
        was_unreadable, self._failure = self._failure is not None, None
        if content == self._seen and not was_unreadable:
            return None
        self._seen = content
        return content
