"""The adapter against vLLM's interface in miniature; ``e2e/vllm`` has the real one."""

import enum
import importlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, make_dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from alise_core.errors import ConfigError

LAYERS, PAGE, BLOCKS = 2, 4_096, 8
PACKAGE = "alise_vllm.tier"
CAPACITY = 10 * LAYERS * PAGE


class LookupResult(enum.Enum):
    MISS = enum.auto()
    HIT = enum.auto()
    HIT_PENDING = enum.auto()


class Spec:
    def __init__(self, config: Any) -> None:
        self.config = config
        self.extra_config = config.extra_config
        self.kv_events_config = SimpleNamespace(enable_kv_cache_events=True)
        self.blocks_per_chunk = config.blocks_per_chunk
        self.tokens_per_block = tuple(group.tokens_per_block for group in config.groups)


class CachePolicy(ABC):
    def __init__(self, cache_capacity: int) -> None:
        raise AssertionError

    @abstractmethod
    def evict(self, n: int, protected: set[bytes]) -> Any: ...


@dataclass
class Context:
    req_id: str = "a"
    kept: dict[type, Any] = field(default_factory=dict)

    def set_state(self, value: Any) -> None:
        self.kept[type(value)] = value

    def get_state(self, kind: type) -> Any:
        return self.kept.get(kind)


class Connector:
    """vLLM's, which makes a manager in the scheduler's process and nothing in a worker's."""

    matched: tuple[int | None, bool] = (64, True)

    def __init__(self, vllm_config: Any, role: str, kv_cache_config: Any) -> None:
        self.called: list[str] = []
        extra = vllm_config.kv_transfer_config.kv_connector_extra_config
        module = importlib.import_module(extra["spec_module_path"])
        spec = getattr(module, extra["spec_name"])(config(extra))
        self.connector_scheduler = None
        if role == "scheduler":
            self.connector_scheduler = SimpleNamespace(manager=spec.get_manager())

    @property
    def scheduler(self) -> Any:
        return self.connector_scheduler

    def get_num_new_matched_tokens(self, request: Any, computed: int) -> tuple[int | None, bool]:
        return self.matched

    def on_new_request(self, *_: Any) -> None:
        self.called.append("on_new_request")

    def request_finished(self, *_: Any) -> None:
        self.called.append("request_finished")

    def request_finished_all_groups(self, *_: Any) -> None:
        self.called.append("request_finished_all_groups")

    def build_connector_meta(self, *_: Any) -> None:
        self.called.append("build_connector_meta")

    def update_connector_output(self, *_: Any) -> None:
        self.called.append("update_connector_output")


MODULES: dict[str, dict[str, Any]] = {
    "vllm.v1.kv_offload.cpu.policies.base": {"CachePolicy": CachePolicy},
    "vllm.v1.kv_offload.cpu.policies.lru": {"LRUCachePolicy": make_dataclass("Lru", ["capacity"])},
    "vllm.v1.kv_offload.cpu.policies.arc": {"ARCCachePolicy": make_dataclass("Arc", ["capacity"])},
    "vllm.v1.metrics.cache_hit_source": {"CacheHitSource": SimpleNamespace(HOST="host")},
    "vllm.v1.kv_offload.base": {
        "LoadStoreSpec": type("LoadStoreSpec", (), {}),
        "LookupResult": LookupResult,
        "Medium": SimpleNamespace(CPU="CPU"),
        "OffloadingEvent": make_dataclass("OffloadingEvent", ["keys", "medium", "removed"]),
        "OffloadingManager": type("OffloadingManager", (ABC,), {}),
        "OffloadingSpec": Spec,
        "OffloadingWorker": type("OffloadingWorker", (ABC,), {}),
        "PrepareStoreOutput": make_dataclass(
            "PrepareStoreOutput", ["keys_to_store", "store_spec", "evicted_keys"]
        ),
        "RequestOffloadingContext": SimpleNamespace,
        "TransferResult": make_dataclass(
            "TransferResult", ["job_id", "success", "size", "seconds"]
        ),
    },
    "vllm.distributed.kv_transfer.kv_connector.v1.offloading_connector": {
        "OffloadingConnector": Connector
    },
}


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, members in MODULES.items():
        parts = name.split(".")
        for depth in range(1, len(parts)):
            above = ".".join(parts[:depth])
            if above not in sys.modules:
                monkeypatch.setitem(sys.modules, above, ModuleType(above))
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    yield
    for name in ("policies", "spec", "connector"):
        sys.modules.pop(f"{PACKAGE}.{name}", None)


@pytest.fixture
def spec(vllm: None) -> Any:
    return importlib.import_module(f"{PACKAGE}.spec")


@pytest.fixture
def connector(vllm: None) -> Any:
    return importlib.import_module(f"{PACKAGE}.connector")


def config(extra: Any = None, **fields: Any) -> SimpleNamespace:
    usual = {
        "extra_config": extra or {"alise_tier": {"capacity_bytes": CAPACITY}},
        "blocks_per_chunk": 1,
        "groups": [SimpleNamespace(tokens_per_block=16)],
        "model": SimpleNamespace(dtype="bfloat16"),
        "parallel": SimpleNamespace(world_size=1),
        "worker_kv_bytes_per_block": LAYERS * PAGE,
    }
    return SimpleNamespace(**{**usual, **fields})


def kv_caches(pages: int = PAGE) -> SimpleNamespace:
    layers = [torch.randint(-128, 127, (BLOCKS, pages), dtype=torch.int8) for _ in range(LAYERS)]
    return SimpleNamespace(tensors=[SimpleNamespace(tensor=layer) for layer in layers])


def on_device(*blocks: int) -> SimpleNamespace:
    return SimpleNamespace(block_ids=np.array(blocks))


KEYS = [b"k0", b"k1"]


def test_what_is_stored_is_found_and_loaded(spec: Any) -> None:
    made, caches, context = spec.TierSpec(config()), kv_caches(), Context()
    manager, worker = made.get_manager(), made.get_worker(caches)
    assert (made.get_manager(), made.get_worker(caches)) == (manager, worker)
    assert not made.offload_prompt_only
    manager.on_new_request(context)
    assert manager.lookup(KEYS[0], context) is LookupResult.MISS

    output = manager.prepare_store(KEYS, context)
    assert manager.lookup(KEYS[0], context) is LookupResult.HIT_PENDING
    assert worker.submit_store(1, on_device(0, 1), output.store_spec)
    worker.wait({1})
    assert [(each.job_id, each.success) for each in worker.get_finished()] == [(1, True)]
    manager.complete_store(KEYS, context)
    assert manager.lookup(KEYS[0], context) is LookupResult.HIT

    places = manager.prepare_load(KEYS, context)
    assert worker.submit_load(2, places, on_device(4, 5))
    (done,) = worker.get_finished()
    assert done.size == 2 * LAYERS * PAGE
    manager.complete_load(KEYS, context)
    for layer in caches.tensors:
        assert torch.equal(layer.tensor[4:6], layer.tensor[0:2])
    assert manager.get_load_source(KEYS[0], context) == "host"
    manager.on_request_finished(context)
    assert [(event.keys, event.removed) for event in manager.take_events()] == [(KEYS, False)]
    assert list(manager.take_events()) == []


def test_what_could_not_be_stored_is_not_there(spec: Any) -> None:
    manager, context = spec.TierSpec(config()).get_manager(), Context()
    manager.prepare_store(KEYS, context)
    manager.complete_store(KEYS, context, success=False)

    assert manager.lookup(KEYS[0], context) is LookupResult.MISS
    assert manager.prepare_store([bytes([n]) for n in range(11)], context) is None


def test_after_a_reset_a_request_goes_on_and_nothing_is_there(spec: Any) -> None:
    manager, context = spec.TierSpec(config()).get_manager(), Context()
    manager.on_new_request(context)
    manager.prepare_store(KEYS, context)
    manager.reset_cache()
    assert manager.lookup(KEYS[0], context) is LookupResult.MISS

    assert manager.prepare_store(KEYS, context).keys_to_store == KEYS
    manager.on_request_finished(context)


def test_a_lower_capacity_is_reached_step_by_step(spec: Any) -> None:
    manager, context = spec.TierSpec(config()).get_manager(), Context()
    keys = [bytes([number]) for number in range(10)]
    manager.prepare_store(keys, context)
    manager.complete_store(keys, context)
    list(manager.take_events())
    manager.tier.plan({"capacity_bytes": 3 * LAYERS * PAGE})()
    assert manager.has_pending_work()

    manager.on_schedule_end(None)
    assert not manager.has_pending_work()
    (event,) = manager.take_events()
    assert event.removed
    assert len(event.keys) == 7
    manager.on_schedule_end(None)
    assert list(manager.take_events()) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"extra": {}}, "needs its size"),
        ({"blocks_per_chunk": 4}, "'blocks_per_chunk' 4"),
    ],
)
def test_what_cannot_work_keeps_the_server_from_starting(
    spec: Any, fields: dict[str, Any], said: str
) -> None:
    extra = fields.pop("extra", None)
    with pytest.raises(ConfigError, match=said):
        spec.TierSpec(config({"other": 1} if extra == {} else None, **fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"model": SimpleNamespace(dtype="fp8")},
        {"groups": [SimpleNamespace(tokens_per_block=16), SimpleNamespace(tokens_per_block=32)]},
    ],
)
def test_kv_that_is_no_plain_float_is_kept_as_it_is(spec: Any, fields: dict[str, Any]) -> None:
    made = spec.TierSpec(config(**fields))
    assert made.get_manager().tier.state()["level"] == "none"

    with pytest.raises(ConfigError, match="it takes none"):
        made.get_manager().tier.plan({"level": "int8"})


def test_a_layout_that_is_not_what_was_told_is_refused(spec: Any) -> None:
    with pytest.raises(ConfigError, match="8224 bytes here and 8192"):
        spec.TierSpec(config()).get_worker(kv_caches(PAGE + 16))


@pytest.mark.parametrize("name", ["lru", "arc", "ewt", "vllm:lru", "vllm:arc"])
def test_every_policy_is_made(spec: Any, name: str) -> None:
    policies = importlib.import_module(f"{PACKAGE}.policies")
    made = policies.make_policy(name, SimpleNamespace())

    assert isinstance(made, CachePolicy) is (":" not in name)
    assert isinstance(made, policies.LearnsAtTheEnd) is (":" in name)


def host_tier(
    connector: Any, role: str = "scheduler", section: Any = None, beside: Any = None
) -> Any:
    section = {"capacity_bytes": CAPACITY} if section is None else section
    transfer = SimpleNamespace(kv_connector_extra_config={})
    vllm_config = SimpleNamespace(
        kv_transfer_config=transfer,
        scheduler_config=SimpleNamespace(max_num_batched_tokens=2_048),
        additional_config={"alise": {"tier": section, **(beside or {})}},
    )
    return connector.HostTier(vllm_config, role, None)


def request(**fields: Any) -> SimpleNamespace:
    usual = {
        "request_id": "a",
        "num_output_tokens": 3,
        "sampling_params": SimpleNamespace(extra_args={"alise_p50": 10}),
    }
    return SimpleNamespace(**{**usual, **fields})


def test_the_settings_reach_the_spec_and_predictions_the_tier(connector: Any) -> None:
    made = host_tier(connector)
    made.on_new_request(request())
    made.on_new_request(request(request_id="pooling", sampling_params=None))
    assert made.tier.remaining.of("a") == 7
    assert made.tier.settings.capacity_bytes == CAPACITY

    made.request_finished_all_groups(request(), ([],))
    made.request_finished(request(request_id="pooling"), [])
    assert made.tier.remaining.of("a") is None
    assert made.called == ["on_new_request"] * 2 + [
        "request_finished_all_groups",
        "request_finished",
    ]


def test_what_is_cheaper_to_compute_is_not_loaded(connector: Any) -> None:
    made = host_tier(connector)
    assert made.get_num_new_matched_tokens(request(), 0) == (64, True)
    for _ in range(10):
        made.tier.worth.copies.observe(PAGE, 10.0)
        made.tier.worth.prefills.observe(64, 0.001)

    assert made.get_num_new_matched_tokens(request(), 0) == (0, False)
    made.matched = (None, False)
    assert made.get_num_new_matched_tokens(request(), 0) == (None, False)


def test_prices_are_learned_from_steps_and_copies(connector: Any) -> None:
    made = host_tier(connector)
    made.on_new_request(request())
    step = SimpleNamespace(total_num_scheduled_tokens=100, num_scheduled_tokens={"a": 100})
    made.build_connector_meta(step)
    made.build_connector_meta(step)
    assert made.tier.worth.prefills.count == 1

    stats = SimpleNamespace(
        load=SimpleNamespace(bytes=0, time=0.0), store=SimpleNamespace(bytes=9, time=0.1)
    )
    for meta in (None, SimpleNamespace(transfer_stats=stats)):
        made.update_connector_output(SimpleNamespace(kv_connector_worker_meta=meta))
    assert made.tier.worth.copies.count == 1


def test_the_tier_is_found_by_whoever_looks_at_the_engine(connector: Any) -> None:
    made = host_tier(connector)
    assert made.alise_tunable is made.tier
    assert made.alise_tunable.name == "tier"


def test_a_worker_has_no_tier_and_keeps_no_books(connector: Any) -> None:
    made = host_tier(connector, role="worker")
    assert made.alise_tunable is None

    assert made.connector_scheduler is None


def test_no_load_begins_in_a_step_in_which_somebody_gave_way(connector: Any) -> None:
    made = host_tier(connector, section={"capacity_bytes": CAPACITY, "eviction": "ewt"})
    step = SimpleNamespace(total_num_scheduled_tokens=1, num_scheduled_tokens={"a": 1})
    made.tier.swaps.out()
    assert made.get_num_new_matched_tokens(request(), 0) == (None, False)
    assert made.tier.state()["held_loads"] == 1

    made.build_connector_meta(step)
    made.tier.swaps.out()
    assert made.get_num_new_matched_tokens(request(), 0) == (64, True), "not twice in a row"

    made.tier.plan({"eviction": "lru"})()
    made.build_connector_meta(step)
    made.tier.swaps.out()
    assert made.get_num_new_matched_tokens(request(), 0) == (64, True), "the rule is ewt's"


def test_a_misspelt_section_beside_the_tier_s_keeps_the_server_from_starting(
    connector: Any,
) -> None:
    with pytest.raises(ConfigError, match="'alise' has no setting 'schedulr'"):
        host_tier(connector, beside={"schedulr": {}})


def test_a_section_that_is_wrong_keeps_the_server_from_starting(connector: Any) -> None:
    with pytest.raises(ConfigError, match="'level' 'int1' is unknown"):
        host_tier(connector, section={"capacity_bytes": CAPACITY, "level": "int1"})


@pytest.mark.parametrize("module", ["policies", "spec", "connector"])
def test_without_a_vllm_that_has_the_interface_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    sys.modules.pop(f"{PACKAGE}.{module}", None)

    with pytest.raises(ConfigError, match=r"runs inside vLLM .* 0\.32") as caught:
        importlib.import_module(f"{PACKAGE}.{module}")

    assert "\n" not in str(caught.value)
