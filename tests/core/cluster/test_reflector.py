"""The copy follows the collection whatever the API server does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from alise_cluster.cache import Change, ChangeKind
from alise_cluster.client import ClusterClient
from alise_cluster.pacing import Pacing
from alise_cluster.reflector import PAGE_OBJECTS, Contact, Reflector, Selection
from alise_cluster.resources import PODS, SECRETS, Resource, resource_of
from alise_core.crds.names import Kind, ObjectKey
from fakes.api_server import FakeApiServer
from fakes.api_server_store import Chosen, Path, Raw, Refused
from fakes.clock import FakeClock


def pod(name: str, **labels: str) -> Raw:
    return {"metadata": {"name": name, "labels": labels}, "spec": {}}


class Follower:
    """A reflector that runs, with what it told."""

    def __init__(self, client: ClusterClient, clock: FakeClock) -> None:
        self.client, self.clock = client, clock
        self.told: list[tuple[ChangeKind, str]] = []
        self.pauses: list[float] = []
        self._moved = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._may_go_on = asyncio.Event()
        self._may_go_on.set()

    def follow(self, resource: Resource = PODS, selection: Selection | None = None) -> Reflector:
        self.reflector = Reflector(
            self.client,
            resource,
            selection or Selection("ns"),
            on_change=self._on_change,
            clock=self.clock,
            pacing=Pacing(self._sleep, lambda: 0.5),
        )
        self._task = asyncio.create_task(self.reflector.run())
        return self.reflector

    def hold(self) -> None:
        """Pauses last until ``go_on``."""
        self._may_go_on.clear()

    def go_on(self) -> None:
        self._may_go_on.set()

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.advance(seconds)
        await self._notify()
        await self._may_go_on.wait()
        await asyncio.sleep(0)

    def _on_change(self, changes: Sequence[Change]) -> None:
        self.told += [(change.kind, change.key.name) for change in changes]
        self._notified = asyncio.create_task(self._notify())

    async def _notify(self) -> None:
        async with self._moved:
            self._moved.notify_all()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10), self._moved:
            await self._moved.wait_for(condition)

    async def until_told(self, *told: tuple[str, str]) -> None:
        expected = [(ChangeKind(kind), name) for kind, name in told]
        await self.until(lambda: len(self.told) >= len(expected))
        assert self.told == expected
        self.told.clear()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task


@pytest.fixture
async def follower(client: ClusterClient, clock: FakeClock) -> AsyncIterator[Follower]:
    follower = Follower(client, clock)
    yield follower
    await follower.stop()


async def test_what_is_there_is_listed_and_what_happens_is_watched(
    server: FakeApiServer, follower: Follower
) -> None:
    server.put(PODS, pod("a"))
    follower.follow()
    await follower.until_told(("ADDED", "a"))
    await server.until_watches(1)

    server.put(PODS, pod("b"))
    server.put(PODS, pod("a", changed="yes"))
    server.remove(PODS, "b")

    await follower.until_told(("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b"))
    assert follower.reflector.contact is Contact.WATCHING


async def test_a_long_listing_is_read_in_pages(server: FakeApiServer, follower: Follower) -> None:
    for number in range(PAGE_OBJECTS * 2 + 1):
        server.put(PODS, pod(f"p{number:04}"))
    reflector = follower.follow()
    await reflector.synced.wait()

    assert len(reflector.objects) == PAGE_OBJECTS * 2 + 1
    lists = [asked for asked in server.asked if asked.verb == "list"]
    assert [asked.query.get("limit") for asked in lists] == [str(PAGE_OBJECTS)] * 3


async def test_pages_that_expire_midway_are_read_again_as_a_whole(
    server: FakeApiServer, follower: Follower
) -> None:
    for number in range(PAGE_OBJECTS + 1):
        server.put(PODS, pod(f"p{number:04}"))
    page, served = server.store.page, list[str]()

    def expiring(path: Path, chosen: Chosen, limit: int, token: str) -> Raw:
        if len(served) == 1:
            server.store.compact()
        served.append(token)
        return page(path, chosen, limit, token)

    server.store.page = expiring  # type: ignore[method-assign]
    reflector = follower.follow()
    await reflector.synced.wait()

    assert len(reflector.objects) == PAGE_OBJECTS + 1
    assert [asked.query.get("limit") for asked in server.asked if asked.verb == "list"] == [
        *[str(PAGE_OBJECTS)] * 2,
        None,
    ]


async def test_selectors_and_namespace_reach_the_server(
    server: FakeApiServer, follower: Follower
) -> None:
    server.put(PODS, pod("mine", app="vllm"))
    server.put(PODS, pod("other", app="web"))
    server.put(PODS, pod("elsewhere", app="vllm"), "other-ns")
    follower.follow(selection=Selection("ns", labels="app=vllm"))
    await follower.until_told(("ADDED", "mine"))
    await server.until_watches(1)

    server.put(PODS, pod("other", app="vllm"))
    server.put(PODS, pod("mine", app="web"))

    # An object that leaves the selection is gone for us.
    await follower.until_told(("ADDED", "other"), ("DELETED", "mine"))


async def test_one_secret_by_name(server: FakeApiServer, follower: Follower) -> None:
    server.put(SECRETS, {"metadata": {"name": "a"}, "data": {}})
    server.put(SECRETS, {"metadata": {"name": "b"}, "data": {}})
    follower.follow(SECRETS, Selection("ns", fields="metadata.name=b"))

    await follower.until_told(("ADDED", "b"))
    assert {asked.query["fieldSelector"] for asked in server.asked} == {"metadata.name=b"}


async def test_a_watch_that_ends_is_gone_on_with_where_it_was(
    server: FakeApiServer, follower: Follower
) -> None:
    server.put(PODS, pod("a"))
    follower.follow()
    await follower.until_told(("ADDED", "a"))
    await server.until_watches(1)
    version = server.store.touch()
    server.bookmark()
    follower.clock.advance(120)

    server.end_watches()
    await server.until_asked("watch", "pods", 2)

    watches = [asked for asked in server.asked if asked.verb == "watch"]
    assert watches[1].query["resourceVersion"] == str(version)
    assert watches[1].query["allowWatchBookmarks"] == "true"
    assert [asked.verb for asked in server.asked].count("list") == 1
    assert follower.pauses == []


async def test_a_watch_that_ends_at_once_is_not_asked_for_again_at_once(
    server: FakeApiServer, follower: Follower
) -> None:
    follower.hold()
    follower.follow()
    await server.until_watches(1)

    server.end_watches()

    await follower.until(lambda: follower.pauses)
    assert follower.pauses == [0.25]


@pytest.mark.parametrize("as_event", [True, False])
async def test_a_version_that_is_too_old_leads_to_a_listing_that_tells_differences(
    server: FakeApiServer, follower: Follower, as_event: bool
) -> None:
    for name in ("stays", "changes", "goes"):
        server.put(PODS, pod(name))
    follower.follow()
    await follower.until(lambda: len(follower.told) == 3)
    follower.told.clear()
    await server.until_watches(1)
    kept, server.store.on_entry = server.store.on_entry, lambda entry: None

    server.put(PODS, pod("changes", changed="yes"))
    server.put(PODS, pod("comes"))
    server.remove(PODS, "goes")
    server.store.on_entry = kept
    server.store.compact()
    follower.clock.advance(5)
    if as_event:
        server.expire_watches()
    else:
        server.break_watches()

    await follower.until(lambda: len(follower.told) >= 3)
    assert set(follower.told) == {
        (ChangeKind.DELETED, "goes"),
        (ChangeKind.MODIFIED, "changes"),
        (ChangeKind.ADDED, "comes"),
    }
    assert follower.reflector.figures.lists == 2
    assert follower.reflector.figures.errors["expired"] == 1


async def test_an_object_made_anew_under_its_name_is_another_one(
    server: FakeApiServer, follower: Follower
) -> None:
    server.put(PODS, pod("a"))
    follower.follow()
    await follower.until_told(("ADDED", "a"))
    await server.until_watches(1)
    kept, server.store.on_entry = server.store.on_entry, lambda entry: None
    server.remove(PODS, "a")
    server.put(PODS, pod("a"))
    server.store.on_entry = kept
    server.store.compact()

    server.expire_watches()

    await follower.until_told(("DELETED", "a"), ("ADDED", "a"))


async def test_the_copy_outlives_the_server(server: FakeApiServer, follower: Follower) -> None:
    server.put(PODS, pod("a"))
    reflector = follower.follow()
    await follower.until_told(("ADDED", "a"))
    await server.until_watches(1)
    follower.hold()

    await server.stop()
    await follower.until(lambda: reflector.contact is Contact.FAILING)
    assert [key.name for key in reflector.objects] == ["a"]
    assert not follower.told
    server.put(PODS, pod("b"))
    await server.start()
    follower.go_on()

    await follower.until_told(("ADDED", "b"))
    assert reflector.contact is Contact.WATCHING
    assert reflector.figures.lists == 1


async def test_pauses_grow_to_a_cap(server: FakeApiServer, follower: Follower) -> None:
    await server.stop()
    follower.follow()

    await follower.until(lambda: len(follower.pauses) >= 8)

    assert follower.pauses[:8] == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


async def test_a_server_that_asks_for_patience_gets_it(
    server: FakeApiServer, follower: Follower
) -> None:
    follower.hold()
    server.failures = [Refused(429, "TooManyRequests", "too many requests", retry_after=7)]
    reflector = follower.follow()

    await follower.until(lambda: follower.pauses)
    assert reflector.contact is Contact.FAILING
    assert "too many requests" in (reflector.problem or "")
    assert follower.pauses == [7]
    follower.go_on()
    await reflector.synced.wait()
    assert reflector.problem is None


async def test_a_collection_that_is_not_installed_counts_as_empty_and_is_found_later(
    server: FakeApiServer, follower: Follower
) -> None:
    pools = resource_of(Kind.INFERENCE_POOL)
    server.store.stop_serving((pools.group, pools.version, pools.plural))
    follower.hold()
    reflector = follower.follow(pools)
    await reflector.synced.wait()
    await follower.until(lambda: follower.pauses)
    assert reflector.contact is Contact.ABSENT
    assert follower.pauses == [0.25]

    server.install(pools)
    server.put(pools, {"metadata": {"name": "pool"}, "spec": {}})
    follower.go_on()

    await follower.until_told(("ADDED", "pool"))


async def test_what_people_have_to_mend_is_asked_for_less_and_less(
    server: FakeApiServer, follower: Follower
) -> None:
    server.forbidden = {("list", "pods")}
    follower.follow()

    await follower.until(lambda: len(follower.pauses) >= 10)

    assert follower.pauses[:10] == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


async def test_a_server_that_has_just_started_refuses_for_a_moment_only(
    server: FakeApiServer, follower: Follower
) -> None:
    """It has not read its roles yet, and forbids everything."""
    server.put(PODS, pod("a"))
    follower.follow()
    await follower.until_told(("ADDED", "a"))
    follower.hold()
    server.forbidden = {("watch", "pods"), ("list", "pods")}
    server.break_watches()
    await follower.until(lambda: follower.reflector.contact is Contact.FORBIDDEN)
    server.put(PODS, pod("b"))
    server.forbidden = set()
    follower.go_on()

    await follower.until_told(("ADDED", "b"))
    assert max(follower.pauses) <= 0.5


async def test_a_missing_permission_is_named(server: FakeApiServer, follower: Follower) -> None:
    server.forbidden = {("list", "secrets")}
    follower.hold()
    reflector = follower.follow(SECRETS, Selection("ns", fields="metadata.name=keys"))
    await follower.until(lambda: follower.pauses)

    assert reflector.contact is Contact.FORBIDDEN
    assert (reflector.problem or "").startswith("may not get, list and watch secrets keys in ns: ")
    assert not reflector.synced.is_set()
    server.forbidden = set()
    follower.go_on()
    await reflector.synced.wait()


async def test_differences_that_are_not_understood_do_not_end_it(
    server: FakeApiServer, client: ClusterClient, clock: FakeClock
) -> None:
    stumbled, understood = asyncio.Event(), asyncio.Event()

    def stumble(changes: Sequence[Change]) -> None:
        if changes[0].key == ObjectKey("ns", "a"):
            stumbled.set()
            raise ValueError("bug")
        understood.set()

    reflector = Reflector(client, PODS, Selection("ns"), on_change=stumble, clock=clock)
    task = asyncio.create_task(reflector.run())
    await server.until_watches(1)

    server.put(PODS, pod("a"))
    await stumbled.wait()
    server.put(PODS, pod("b"))

    await understood.wait()
    assert [key.name for key in reflector.objects] == ["a", "b"]
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
