"""Whether a server takes new requests, and how many are in progress; pure.

::

    open -- drain --> draining -- shut down --> shutting down
      <---- undrain ----'                       (for good)

Requests in progress go on in every state. Only what makes the engine work is held back: whoever
drains still has to abort requests, list models and read metrics.
"""

from enum import StrEnum

_INFERENCE_PREFIXES = ("/v1/", "/v2/", "/cohere/", "/inference/")
_INFERENCE_PATHS = frozenset(
    {"/classify", "/generative_scoring", "/invocations", "/pooling", "/rerank", "/score"}
)
_NO_WORK = ("/abort_requests", "/cancel", "/count_tokens", "_lora_adapter", "/render", "/derender")
"""Ends of paths that lead to no forward pass.
Source: the routes of vLLM 0.32, ``entrypoints``."""


class Closed(StrEnum):
    """Why no new request is taken."""

    DRAINING = "draining"
    SHUTTING_DOWN = "shutting_down"


class Draining:
    """See the module.

    Attributes:
        closed: Why no new request is taken; None while they are.
        in_progress: Requests that were let in and have not ended.
        refused: Requests that were not let in.
    """

    def __init__(self) -> None:
        self.closed: Closed | None = None
        self.in_progress = 0
        self.refused = 0

    def drain(self) -> None:
        """Take nothing new until ``undrain``."""
        if self.closed is None:
            self.closed = Closed.DRAINING

    def undrain(self) -> bool:
        """Take new requests again; whether that is still possible."""
        if self.closed is Closed.DRAINING:
            self.closed = None
        return self.closed is None

    def shut_down(self) -> None:
        """Take nothing new any more."""
        self.closed = Closed.SHUTTING_DOWN

    def enter(self) -> bool:
        """A request wants in; one that was let in has to ``leave``."""
        if self.closed is not None:
            self.refused += 1
            return False
        self.in_progress += 1
        return True

    def leave(self) -> bool:
        """A request has ended, in whatever way; whether it was the last of a closed server."""
        self.in_progress -= 1
        return self.is_drained

    @property
    def is_drained(self) -> bool:
        """Nothing is in progress and nothing will be."""
        return self.closed is not None and self.in_progress == 0


def makes_work(method: str, path: str) -> bool:
    """Whether a request has the engine compute something.

    Args:
        method: Of HTTP; ``WEBSOCKET`` for a websocket.
        path: Without the server's root path.
    """
    if method not in {"POST", "WEBSOCKET"} or path.endswith(_NO_WORK):
        return False
    return path.startswith(_INFERENCE_PREFIXES) or path in _INFERENCE_PATHS
