"""The backends and the models they serve, as the other stages read them.

Lives on the event loop. Membership changes through ``add``, ``remove`` and ``exchange`` only,
whoever decides on it: settings at start, a watcher of a cluster later. What probing finds out
comes in through ``set_models`` and ``set_probe``. Subscribers are called synchronously, after a
change and only when it matters to dispatch.

A model stays known while some backend lists it, up or down, and for ``REMEMBER_SECONDS`` after the
last backend that listed it was removed: a pool that is scaled to zero or replaced answers 503,
which clients retry, and not 404, which they do not. A backend that is there and lists a model no
more has given it up, which counts at once.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from alise_core.clock import Clock
from alise_core.errors import ConfigError
from alise_core.units import BackendName
from alise_gateway.discovery.catalogue import (
    Aliases,
    CatalogueEntry,
    Target,
    check_aliases,
    check_fallbacks,
    merge_models,
    pick_target,
)
from alise_gateway.domain.backend import Backend, BackendAddress, ProbeState, ServedModel
from alise_gateway.domain.breaker import BreakerLimits, CircuitBreaker
from alise_gateway.settings import AliasSetting, BackendSettings, GatewaySettings, read_secret

REMEMBER_SECONDS = 3_600.0
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Member:
    """A backend that is to be taken in.

    Attributes:
        address: Where it listens.
        max_in_flight: Requests that it is given at a time.
        is_ready: It may be given new requests.
    """

    address: BackendAddress
    max_in_flight: int
    is_ready: bool = True


class BackendRegistry:
    """Every backend, and which of them list a model.

    Args:
        settings: The backends at start, the aliases, and the defaults of new backends.
        clock: Decides when a model of removed backends is forgotten.

    Attributes:
        backends: All of them; replaced, never changed.
        on_readdressed: Told of a backend whose address, that is its key, has changed.

    Raises:
        ConfigError: A backend's key file, an alias or a fallback is unusable.
    """

    def __init__(self, settings: GatewaySettings, clock: Clock) -> None:
        self._aliases: Aliases = {
            alias: _targets(value) for alias, value in settings.aliases.items()
        }
        self._fallbacks: Mapping[str, str] = dict(settings.fallbacks)
        check_aliases(self._aliases)
        check_fallbacks(self._fallbacks, self._aliases)
        self._settings = settings
        self._admission = settings.policy().admission
        self._clock = clock
        self._backends: dict[BackendName, Backend] = {}
        self._candidates: dict[str, tuple[Backend, ...]] = {}
        self._departed: dict[str, tuple[ServedModel, float]] = {}
        self._subscribers: list[Callable[[], None]] = []
        self._has_catalogue = False
        self.on_readdressed: Callable[[Backend], None] = _nobody_cares
        self.backends: tuple[Backend, ...] = ()
        for backend in settings.backends:
            self.add(backend)

    @property
    def has_catalogue(self) -> bool:
        """Some backend has stated its models at least once.

        Until then a name that ``resolve`` does not know may well exist: 503, not 404.
        """
        return self._has_catalogue

    @property
    def aliases(self) -> Aliases:
        """Names that lead to served models."""
        return self._aliases

    @property
    def fallback_models(self) -> Mapping[str, str]:
        """Served models, each with the one that stands in for it."""
        return self._fallbacks

    @property
    def now(self) -> float:
        """Monotonic seconds of the clock that the registry goes by."""
        return self._clock.now()

    def resolve(
        self,
        requested: str,
        split_key: bytes = b"",
        usable: Callable[[str], bool] | None = None,
    ) -> str | None:
        """The served name behind a requested one, through at most one alias.

        Args:
            requested: As the client wrote it.
            split_key: Names the conversation, where an alias leads to several models.
            usable: Whether a served name can be answered now. Of an alias's models those that can
                share the conversations, or else those that some backend lists.

        Returns: ``None`` when nobody lists it; see ``has_catalogue`` for what that is worth.
        """
        targets = self._aliases.get(requested) or (Target(requested),)
        for accepts in (usable, self._candidates.__contains__, self._is_remembered):
            found = [] if accepts is None else [item for item in targets if accepts(item.model)]
            if found:
                return pick_target(found, split_key)
        return None

    def is_split(self, requested: str) -> bool:
        """Whether a requested name leads to several models."""
        return len(self._aliases.get(requested, ())) > 1

    def fallbacks(self, requested: str) -> tuple[tuple[str, str], ...]:
        """For a requested name: served models behind it, each with the one that stands in for it.

        Those without a fallback are left out.
        """
        if not self._fallbacks:
            return ()
        targets = self._aliases.get(requested) or (Target(requested),)
        return tuple(
            (target.model, self._fallbacks[target.model])
            for target in targets
            if target.model in self._fallbacks
        )

    def candidates(self, served: str) -> tuple[Backend, ...]:
        """All backends that list a served name, whatever their health; a dictionary lookup."""
        return self._candidates.get(served, ())

    def known_models(self) -> tuple[CatalogueEntry, ...]:
        """What ``GET /v1/models`` shows: served names and aliases, sorted by name."""
        self._forget_departed()
        departed = {name: model for name, (model, _) in self._departed.items()}
        listed = [backend.models for backend in self.backends]
        return merge_models([*listed, departed], self._aliases)

    def add(self, settings: BackendSettings) -> Backend:
        """Take in one more backend; nothing is sent to it before a probe has found it healthy.

        Raises:
            ConfigError: It is there already, or its key file is unusable.
        """
        max_in_flight = settings.max_in_flight or self._settings.queue.max_in_flight_per_backend
        backend = self._take_in(Member(_address(settings), max_in_flight))
        self._changed()
        return backend

    def remove(self, name: BackendName) -> None:
        """Let a backend go; requests in flight on it may finish. Unknown names are ignored."""
        if self._let_go(name):
            self._changed()

    def exchange(self, gone: Iterable[BackendName], new: Iterable[Member]) -> None:
        """Let some backends go and take in others, as one change.

        Args:
            gone: Their names; may be taken again at once by ``new``.
            new: Nothing is sent to them before a probe has found them healthy.

        Raises:
            ConfigError: One of ``new`` is there already; then nothing has changed.
        """
        gone, new = set(gone), list(new)
        for member in new:
            if member.address.name not in gone:
                self._check_new(member.address)
        changed = [name for name in gone if self._let_go(name)]
        for member in new:
            self._take_in(member)
        if changed or new:
            self._changed()

    def has(self, name: BackendName) -> bool:
        """Whether some backend is listed under a name."""
        return name in self._backends

    def get(self, name: BackendName) -> Backend | None:
        """The backend listed under a name."""
        return self._backends.get(name)

    def set_ready(self, backend: Backend, is_ready: bool) -> None:
        """Note whether who listed it lets new requests go there; those in flight may finish."""
        if backend.is_ready is not is_ready:
            backend.is_ready = is_ready
            self._notify()

    def set_limit(self, backend: Backend, max_in_flight: int) -> None:
        """Give it so many requests at a time from now on."""
        if backend.max_in_flight != max_in_flight:
            backend.max_in_flight = max_in_flight
            self._notify()

    def set_api_key(self, backend: Backend, api_key: str | None) -> None:
        """Send it another key from the next request on."""
        if backend.address.api_key != api_key:
            backend.address = replace(backend.address, api_key=api_key)
            self.on_readdressed(backend)

    def set_names(self, aliases: Aliases, fallbacks: Mapping[str, str]) -> None:
        """Go by other aliases and fallbacks from now on; all of them.

        Raises:
            ConfigError: They cannot stand beside each other; then nothing has changed.
        """
        check_aliases(aliases)
        check_fallbacks(fallbacks, aliases)
        if (aliases, fallbacks) != (self._aliases, self._fallbacks):
            self._aliases, self._fallbacks = dict(aliases), dict(fallbacks)
            self._notify()

    def set_models(self, backend: Backend, models: dict[str, ServedModel]) -> None:
        """Note what a backend says it serves."""
        self._has_catalogue = True
        if backend.removed or backend.models == models:
            return
        backend.models = models
        self._changed()

    def set_probe(self, backend: Backend, state: ProbeState, error: str | None) -> None:
        """Note how a backend is doing, and why when that is not well."""
        backend.probe_error = error
        if backend.removed or backend.probe is state:
            return
        backend.probe = state
        self._notify()

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called after every change of membership, models or probe states.

        Returns: A function that ends the subscription.
        """
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def _check_new(self, address: BackendAddress) -> None:
        if address.name in self._backends:
            raise ConfigError(f"backend {address.name} is listed more than once; remove one")

    def _take_in(self, member: Member) -> Backend:
        self._check_new(member.address)
        health = self._settings.health
        limits = BreakerLimits(
            health.breaker_failures, health.breaker_open_seconds, health.breaker_max_open_seconds
        )
        backend = Backend(
            member.address,
            member.max_in_flight,
            CircuitBreaker(limits),
            is_ready=member.is_ready,
            admission_policy=self._admission,
        )
        self._backends[backend.name] = backend
        return backend

    def _let_go(self, name: BackendName) -> bool:
        backend = self._backends.pop(name, None)
        if backend is None:
            return False
        backend.removed = True
        forget_at = self._clock.now() + REMEMBER_SECONDS
        self._departed |= {model.name: (model, forget_at) for model in backend.models.values()}
        return True

    def _changed(self) -> None:
        self.backends = tuple(self._backends.values())
        candidates: dict[str, list[Backend]] = {}
        for backend in self.backends:
            for name in backend.models:
                candidates.setdefault(name, []).append(backend)
        self._candidates = {name: tuple(found) for name, found in candidates.items()}
        for name in candidates:
            self._departed.pop(name, None)
        self._notify()

    def _notify(self) -> None:
        for callback in tuple(self._subscribers):
            callback()

    def _is_remembered(self, name: str) -> bool:
        if self._departed:
            self._forget_departed()
        return name in self._departed

    def _forget_departed(self) -> None:
        now = self._clock.now()
        for name in [name for name, (_, until) in self._departed.items() if now >= until]:
            del self._departed[name]


def _targets(setting: AliasSetting) -> tuple[Target, ...]:
    if isinstance(setting, str):
        return (Target(setting),)
    return tuple(Target(target.model, target.weight) for target in setting)


def _address(settings: BackendSettings) -> BackendAddress:
    parts = urlsplit(settings.url)
    host = parts.hostname or ""
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    shown = f"[{host}]" if ":" in host else host
    key_file = settings.api_key_file
    return BackendAddress(
        name=BackendName(f"{shown}:{port}{parts.path}"),
        host=host,
        port=port,
        tls=parts.scheme == "https",
        base_path=parts.path,
        api_key=None
        if key_file is None
        else read_secret(key_file, f"backend {settings.url} api_key_file"),
    )


def _nobody_cares(backend: Backend) -> None:
    """Until somebody does."""
