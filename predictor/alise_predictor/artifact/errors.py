"""What is wrong with an artifact, said so that the reader knows what to do."""

from alise_core.errors import AliseError

REINSTALL = "install the bundle again: it was changed or cut short after it was written"
RETRAIN = "train a bundle with, or install one for, this version of alise"

_MOST_CHARACTERS = 240
"""Of a found or expected value; a manifest may hold anything at all."""


class ArtifactError(AliseError):
    """A bundle cannot be used, or must not be written.

    Args:
        subject: The file or field at fault, with the path that leads to it.
        found: What is there.
        expected: What has to be there.
        remedy: What to do about it.
    """

    def __init__(self, subject: str, *, found: str, expected: str, remedy: str) -> None:
        super().__init__(f"{subject}: found {_cut(found)}, expected {_cut(expected)}; {remedy}")
        self.subject = subject


def _cut(value: str) -> str:
    if len(value) <= _MOST_CHARACTERS:
        return value
    return value[: _MOST_CHARACTERS - 3] + "..."
