"""Which bundle serves: read off the event loop, tried, and swapped in whole.

A configured directory is looked at every few seconds. When its manifest has changed, the bundle is
verified, opened and tried on a thread, and takes the place of the old one in one assignment:
requests in progress keep the one they began with. One that is corrupt or does not fit changes
nothing; it is reported once and looked at again, since it may be half copied.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path

import structlog

from alise_core.errors import AliseError
from alise_gateway.predict.loaded import with_bundle
from alise_gateway.predict.predictor import Predictor
from alise_gateway.settings import PredictorSettings
from alise_predictor.artifact import MANIFEST, load_bundle, shipped_bundle
from alise_predictor.request import from_prompt
from alise_predictor.serving import LengthPredictor

_MOST_MANIFEST_BYTES = 2**20
_TRIAL = "Write a short story about a lighthouse."
_LOG = structlog.get_logger(__name__)


class BundleKeeper:
    """Keeps a predictor's bundle up to date.

    Args:
        settings: Where the bundle lies, and whether its tier 1 is wanted.
        predictor: Gets what was loaded.
        on_read: Told whether a bundle that was looked at could be used; for metrics.
        on_first: Called once, when the first bundle is in use.
        sleep: Waits between two looks.

    Attributes:
        error: Why the last bundle that was looked at is not in use; ``None`` when it is.
    """

    def __init__(
        self,
        settings: PredictorSettings,
        predictor: Predictor,
        on_read: Callable[[bool], None],
        on_first: Callable[[], Awaitable[None]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._predictor = predictor
        self._on_read = on_read
        self._on_first = on_first
        self._sleep = sleep
        self._directory = settings.bundle_dir or shipped_bundle()
        self._seen: bytes | None = None
        self._task: asyncio.Task[None] | None = None
        self.error: str | None = None

    async def start(self) -> None:
        """Load the bundle, or say loudly that there is none, and keep looking."""
        await self.refresh()
        if self._settings.bundle_dir is not None:
            self._task = asyncio.create_task(self._watch(), name="predictor-bundle")

    async def stop(self) -> None:
        """Look no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def refresh(self) -> None:
        """Look once; swap where there is something new that works."""
        fingerprint = await asyncio.to_thread(_fingerprint, self._directory)
        if fingerprint is not None and fingerprint == self._seen and self.error is None:
            return
        try:
            model = await asyncio.to_thread(_open, self._directory, self._settings.tier1)
        except (AliseError, OSError) as error:
            self._refused(str(error))
            return
        except Exception as error:
            # Boundary: a runtime that chokes on a file is no reason to stop serving.
            self._refused(f"{self._directory} cannot be used: {type(error).__name__}")
            return
        self._seen, self.error = fingerprint, None
        before = self._predictor.loaded
        self._predictor.loaded = with_bundle(model, self._settings, before)
        self._on_read(True)
        _LOG.info(
            "predictor_loaded",
            name=model.manifest.name,
            version=model.manifest.version,
            tier1=model.has_tier1,
            directory=str(self._directory),
        )
        if before.model is None:
            await self._on_first()

    def _refused(self, reason: str) -> None:
        if reason == self.error:
            return
        self.error = reason
        self._on_read(False)
        serving = self._predictor.loaded.artifact
        _LOG.error("predictor_refused", reason=reason, serving=serving)

    async def _watch(self) -> None:
        while True:
            await self._sleep(self._settings.reload_seconds)
            await self.refresh()


def _fingerprint(directory: Path) -> bytes | None:
    """Of the manifest, which changes with every other file."""
    try:
        with (directory / MANIFEST).open("rb") as file:
            return sha256(file.read(_MOST_MANIFEST_BYTES)).digest()
    except OSError:
        return None


def _open(directory: Path, tier1: str) -> LengthPredictor:
    """Verify, open and try a bundle; blocks.

    Raises:
        AliseError: It cannot be used.
    """
    bundle = load_bundle(directory)
    if tier1 == "on" and bundle.manifest.tier1 is None:
        raise AliseError(
            f"{directory} has no tier 1, which predictor.tier1: on demands; "
            "set it to auto, or install a bundle that has one"
        )
    model = LengthPredictor.open(bundle, tier1=tier1 != "off")
    request = from_prompt(_TRIAL, "")
    first = model.predict(request)
    if model.has_tier1:
        model.refine(request, first)
    return model
