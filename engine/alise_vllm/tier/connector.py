r"""vLLM's offloading connector with the tier behind it.

::

    vllm serve ... \
        --kv-transfer-config '{"kv_connector": "HostTier", "kv_role": "kv_both",
            "kv_connector_module_path": "alise_vllm.tier.connector"}' \
        --additional-config '{"alise": {"tier": {"capacity_bytes": 8589934592, "level": "int8"}}}'

It adds what a manager of offloaded KV does not get to see: requests with their predictions, how
long steps take, and the moment at which a request is about to load.
"""

from typing import TYPE_CHECKING

from alise_core.clock import MonotonicClock
from alise_core.errors import ConfigError
from alise_vllm.settings import read_tier
from alise_vllm.tier.pace import Pace
from alise_vllm.tier.spec import SETTINGS, TierManager, TierSpec
from alise_vllm.tier.tuning import Tier

try:
    from vllm.distributed.kv_transfer.kv_connector.v1.offloading_connector import (
        OffloadingConnector,
    )
except ImportError as error:
    raise ConfigError(
        f"alise_vllm.tier runs inside vLLM and needs its KV offloading of 0.32: {error}"
    ) from error

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.distributed.kv_transfer.kv_connector.v1.base import (
        KVConnectorMetadata,
        KVConnectorRole,
    )
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.kv_cache_interface import KVCacheConfig
    from vllm.v1.outputs import KVConnectorOutput
    from vllm.v1.request import Request


class HostTier(OffloadingConnector):
    """The connector.

    Raises:
        ConfigError: The settings are wrong; the server does not start.
    """

    def __init__(
        self,
        vllm_config: "VllmConfig",
        role: "KVConnectorRole",
        kv_cache_config: "KVCacheConfig",
    ) -> None:
        extra = vllm_config.kv_transfer_config.kv_connector_extra_config
        extra["spec_name"], extra["spec_module_path"] = TierSpec.__name__, TierSpec.__module__
        extra[SETTINGS] = read_tier(vllm_config.additional_config)
        super().__init__(vllm_config, role, kv_cache_config)
        self._pace: Pace | None = None
        if self.connector_scheduler is not None:
            most = vllm_config.scheduler_config.max_num_batched_tokens
            self._pace = Pace(MonotonicClock(), self.tier.worth.prefills, most)

    @property
    def tier(self) -> Tier:
        """The tier, in the process of the scheduler; a ``Tunable``."""
        manager = self.scheduler.manager
        if not isinstance(manager, TierManager):
            raise ConfigError("'spec_name' has to be left out: the connector HostTier sets it")
        return manager.tier

    @property
    def alise_tunable(self) -> Tier | None:
        """The same, where there is one: workers have the other half of the connector."""
        return None if self.connector_scheduler is None else self.tier

    def on_new_request(self, request: "Request") -> None:
        """A request comes; note what is predicted of it."""
        params = request.sampling_params
        extra = None if params is None else params.extra_args
        self.tier.remaining.arrived(
            request.request_id, extra, lambda: int(request.num_output_tokens)
        )
        if self._pace is not None:
            self._pace.arrives()
        super().on_new_request(request)

    def get_num_new_matched_tokens(
        self, request: "Request", num_computed_tokens: int
    ) -> tuple[int | None, bool]:
        """How many tokens to load; none where computing them is as cheap, None for not yet."""
        tokens, later = super().get_num_new_matched_tokens(request, num_computed_tokens)
        if tokens and not self.tier.worth_loading(tokens):
            return 0, False
        if tokens and self.tier.holds_load():
            return None, False
        return tokens, later

    def build_connector_meta(self, scheduler_output: "SchedulerOutput") -> "KVConnectorMetadata":
        """A step is planned and begins."""
        if self._pace is not None:
            self.tier.swaps.step_ends()
            self._pace.begins(
                scheduler_output.total_num_scheduled_tokens,
                len(scheduler_output.num_scheduled_tokens),
            )
        return super().build_connector_meta(scheduler_output)

    def update_connector_output(self, connector_output: "KVConnectorOutput") -> None:
        """A step has ended."""
        meta = connector_output.kv_connector_worker_meta
        if meta is not None:
            stats = meta.transfer_stats
            for direction in (stats.load, stats.store):
                if direction.bytes:
                    self.tier.worth.copies.observe(direction.bytes, direction.time)
        super().update_connector_output(connector_output)

    def request_finished(
        self, request: "Request", block_ids: list[int]
    ) -> tuple[bool, dict[str, object] | None]:
        """A request has ended."""
        self._leaves(request)
        found: tuple[bool, dict[str, object] | None] = super().request_finished(request, block_ids)
        return found

    def request_finished_all_groups(
        self, request: "Request", block_ids: tuple[list[int], ...]
    ) -> tuple[bool, dict[str, object] | None]:
        """A request has ended."""
        self._leaves(request)
        found: tuple[bool, dict[str, object] | None] = super().request_finished_all_groups(
            request, block_ids
        )
        return found

    def _leaves(self, request: "Request") -> None:
        self.tier.remaining.ended(request.request_id)
        if self._pace is not None:
            self._pace.leaves()
