"""Everything that can be chosen about one simulated engine."""

from dataclasses import dataclass, field, replace

from alise_bench.sim.engine import Admission
from alise_bench.sim.faults import Fault
from alise_bench.sim.kv_dtype import AUTO, DTYPES, MISREAD_ERROR, KvDtype
from alise_bench.sim.lengths import Lengths
from alise_bench.sim.scheduler import SchedulerConfig
from alise_bench.sim.step_model import A100, Profile, scaled
from alise_bench.sim.waiting import Policy

DEFAULT_MODEL = "alise-sim"


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """One engine; names and meanings of limits are vLLM's where vLLM has the option.

    Sizes left at ``None`` come from the profile.
    """

    model: str = DEFAULT_MODEL
    aliases: tuple[str, ...] = ()
    """Further names that the model answers to."""
    host: str = "127.0.0.1"
    port: int = 0
    """0 lets the system choose."""
    profile: Profile = A100
    speed: float = 1.0
    """Time runs this many times faster than the profile says."""
    policy: Policy = Policy.FCFS
    num_blocks: int | None = None
    block_size: int | None = None
    max_model_len: int | None = None
    max_num_batched_tokens: int | None = None
    max_num_seqs: int | None = None
    kv_cache_dtype: str = AUTO
    """One of ``kv_dtype.DTYPES``."""
    misread_dtypes: frozenset[str] = frozenset()
    """Dtypes that the engine's kernel misreads: it starts with them, and answers wrongly."""
    prefix_caching: bool = True
    admission: Admission = field(default_factory=Admission)
    lengths: Lengths = field(default_factory=Lengths)
    seed: int = 0
    tool_call_share: float = 0.5
    api_key: str | None = field(default=None, repr=False)
    request_id_headers: bool = False
    load_tracking: bool = False
    scale_out: bool = False
    """Serve ``/inference/v1/abort_requests``."""
    shutdown_timeout_seconds: float = 0.0
    drain_middleware: bool = False
    """Behave as with the engine plugin's drain and readiness middleware."""
    faults: tuple[Fault, ...] = ()

    @property
    def timing(self) -> Profile:
        """The profile at this engine's speed."""
        timing = scaled(self.profile, self.speed)
        if self.kv_cache_dtype == AUTO:
            return timing
        return replace(timing, cache_dtype=self.kv_cache_dtype)

    @property
    def kv_dtype(self) -> KvDtype:
        """Of the KV cache, as the engine reads it."""
        dtype = DTYPES[self.kv_cache_dtype]
        if dtype.name not in self.misread_dtypes:
            return dtype
        return replace(dtype, error=MISREAD_ERROR)

    @property
    def scheduler(self) -> SchedulerConfig:
        """The scheduler's limits."""
        base = SchedulerConfig.for_profile(self.profile, self.policy)
        return replace(
            base,
            num_blocks=self._blocks(self.num_blocks or base.num_blocks),
            block_size=self.block_size or base.block_size,
            max_model_len=self.max_model_len or base.max_model_len,
            max_num_batched_tokens=self.max_num_batched_tokens or base.max_num_batched_tokens,
            max_num_seqs=self.max_num_seqs or base.max_num_seqs,
            prefix_caching=self.prefix_caching,
        )

    def _blocks(self, at_16_bits: int) -> int:
        """The null block stays one."""
        return 1 + int((at_16_bits - 1) * self.kv_dtype.capacity)
