"""The tuner is called for what a KVCachePolicy governs, and what it says reaches the policy."""

from collections.abc import Iterable

import pytest

from alise_core.crds.governing import PoolRef
from alise_core.crds.kv_cache_policy import PoolTuningStatus
from alise_core.crds.names import PAUSED_ANNOTATION, Kind
from alise_operator.decide.announcements import Announcement, EventType
from alise_operator.decide.scope import WorkKey
from alise_operator.decide.tuning import TuningReport
from alise_operator.tending import Publish, TendedPool, Tending
from fakes.custom_objects import (
    NEW,
    Raw,
    a_pod,
    a_policy,
    a_pool,
    a_scope,
    an_inference_pool,
    stored,
)

POOL = WorkKey(Kind.MODEL_POOL, "ns", "chat")
REF = PoolRef("ns", Kind.MODEL_POOL, "chat")
KV = WorkKey(Kind.KV_CACHE_POLICY, "ns", "kv")
NEWS = Announcement(EventType.NORMAL, "Pressure", "the cap is 64 now")


class ScriptedTuner:
    """Reports what a test puts into it."""

    def __init__(self) -> None:
        self.tended: list[TendedPool] = []
        self.left: list[PoolRef] = []
        self.rung = "lru"
        self.news: tuple[Announcement, ...] = ()
        self.publishes = False

    async def tend(self, pool: TendedPool, publish: Publish) -> TuningReport:
        self.tended.append(pool)
        status = PoolTuningStatus(name=pool.ref.name, rung=self.rung)
        if self.publishes:
            await publish(TuningReport(pool.ref, status))
        return TuningReport(pool.ref, status, announcements=self.news)

    def let_go(self, pool: PoolRef) -> None:
        self.left.append(pool)


class Scene:
    """Tending, and what it tells."""

    def __init__(self) -> None:
        self.tuner = ScriptedTuner()
        self.tending = Tending(self.tuner, 10, lambda: 0.5)
        self.followed: list[PoolRef] = []
        self.left: list[PoolRef] = []
        self.reported: list[WorkKey] = []
        self.written: list[WorkKey] = []
        self.told: list[tuple[WorkKey, Announcement]] = []
        self.tending.on_followed = self.followed.append
        self.tending.on_let_go = self.left.append
        self.tending.on_reported = self.reported.append
        self.tending.write_now = self._write
        self.tending.tell = self._tell

    def see(self, *policies: Raw, pool: Raw | None = None) -> None:
        scope = a_scope(kv_cache=policies, pods=(a_pod(), a_pod("other", app="other")))
        self.tending.follow(POOL, stored(Kind.MODEL_POOL, pool or a_pool()), scope)

    async def _write(self, key: WorkKey) -> None:
        self.written.append(key)

    def _tell(self, key: WorkKey, news: Iterable[Announcement]) -> None:
        self.told += [(key, each) for each in news]


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_governed_pool_is_tended_with_what_it_consists_of(scene: Scene) -> None:
    pool = a_pool(
        targetPorts=[{"number": 8000}, {"number": 8001}],
        scheme="https",
        basePath="/vllm",
        adminTokenSecretRef={"name": "token"},
    )
    pool["metadata"]["annotations"] = {PAUSED_ANNOTATION: "true"}
    policy = a_policy("kv") | {"status": {"pools": [{"name": "chat", "rung": "int8"}]}}

    scene.see(policy, pool=pool)
    assert scene.followed == [REF]
    assert await scene.tending.tend(REF) == 10

    (tended,) = scene.tuner.tended
    assert tended.policy.name == "kv"
    assert [pod.name for pod in tended.pods] == ["chat-0"]
    assert (tended.ports, tended.scheme, tended.base_path) == ((8000, 8001), "https", "/vllm")
    assert tended.admin_token is not None
    assert tended.admin_token.name == "token"
    assert tended.paused
    assert tended.standing == {"name": "chat", "rung": "int8"}


async def test_a_pool_is_followed_once_and_seen_as_it_is(scene: Scene) -> None:
    scene.see(a_policy("kv"))
    scene.see(a_policy("kv"), pool=a_pool(basePath="/new"))
    await scene.tending.tend(REF)

    assert scene.followed == [REF]
    assert scene.tuner.tended[0].base_path == "/new"


async def test_what_is_reported_is_part_of_the_policys_status(scene: Scene) -> None:
    scene.see(a_policy("kv"))
    scene.tuner.news = (NEWS,)

    await scene.tending.tend(REF)

    reports = scene.tending.reports("uid-kv")
    assert reports is not None
    assert [report.status.rung for report in reports] == ["lru"]
    assert scene.reported == [KV]
    assert scene.told == [(KV, NEWS)]
    assert scene.tending.reports("uid-other") == ()


async def test_the_same_again_is_not_reported(scene: Scene) -> None:
    scene.see(a_policy("kv"))
    for _ in range(3):
        await scene.tending.tend(REF)
    assert scene.reported == [KV]

    scene.tuner.rung = "ewt"
    await scene.tending.tend(REF)
    assert scene.reported == [KV, KV]


async def test_what_must_be_on_record_is_written_before_the_tuner_goes_on(scene: Scene) -> None:
    scene.see(a_policy("kv"))
    scene.tuner.publishes = True

    await scene.tending.tend(REF)

    assert scene.written == [KV]


async def test_a_pool_that_nothing_governs_any_more_is_let_go(scene: Scene) -> None:
    scene.see(a_policy("kv"))
    await scene.tending.tend(REF)

    scene.see()

    assert scene.tuner.left == scene.left == [REF]
    assert scene.tending.reports("uid-kv") == ()
    assert scene.reported == [KV, KV]
    assert await scene.tending.tend(REF) is None


async def test_another_policy_takes_over(scene: Scene) -> None:
    scene.see(a_policy("kv"))
    await scene.tending.tend(REF)

    scene.see(a_policy("kv"), a_policy("special", "chat", created=NEW))
    await scene.tending.tend(REF)

    assert scene.tending.reports("uid-kv") == ()
    assert scene.tuner.tended[-1].policy.name == "special"
    assert [key.name for key in scene.reported] == ["kv", "kv", "special"]
    assert scene.tuner.left == []


async def test_pools_without_pods_to_speak_of_are_left_alone(scene: Scene) -> None:
    scene.see(a_policy("kv"), pool=a_pool(inferencePoolRef={"name": "gone"}))
    scene.see(a_policy("kv"), pool=a_pool(basePath="wrong"))

    assert scene.followed == []


def test_an_inference_pool_that_stands_alone_is_tended(scene: Scene) -> None:
    group = "inference.networking.k8s.io"
    ref = {"group": group, "kind": "InferencePool", "name": "shared"}
    shared, picked = an_inference_pool("shared"), an_inference_pool("picked", picker=True)
    scope = a_scope(inference_pools=(shared, picked), kv_cache=(a_policy("kv", targetRefs=[ref]),))
    for raw in (shared, picked):
        name = raw["metadata"]["name"]
        key = WorkKey(Kind.INFERENCE_POOL, "ns", name)
        scene.tending.follow(key, stored(Kind.INFERENCE_POOL, raw), scope)

    assert scene.followed == [PoolRef("ns", Kind.INFERENCE_POOL, "shared")]


def test_letting_go_of_all(scene: Scene) -> None:
    scene.see(a_policy("kv"))

    scene.tending.let_go_of_all()

    assert scene.tuner.left == [REF]


async def test_without_a_tuner_nothing_is_tended() -> None:
    tending = Tending(None, 10, lambda: 0.5)

    tending.follow(POOL, stored(Kind.MODEL_POOL, a_pool()), a_scope(kv_cache=(a_policy("kv"),)))
    tending.let_go(POOL)

    assert await tending.tend(REF) is None
    assert tending.reports("uid-kv") is None
