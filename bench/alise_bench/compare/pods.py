"""Simulated pods as the gateway and a plain load balancer see them. Virtual time throughout."""

from dataclasses import dataclass, replace

from alise_bench.sim.counted import CountedEngine
from alise_bench.sim.counted_state import CountedRequest, Event
from alise_bench.sim.scheduler import SchedulerConfig
from alise_bench.sim.step_model import Profile
from alise_bench.sim.waiting import Policy
from alise_core.policy import AdmissionPolicy
from alise_core.units import BackendName, Seconds
from alise_gateway.domain.backend import Backend, BackendAddress, ProbeState
from alise_gateway.domain.breaker import BreakerLimits, CircuitBreaker
from alise_gateway.domain.engine_figures import EngineFigures

_NEVER_BREAKS = BreakerLimits(failures=1 << 30, open_seconds=1.0, max_open_seconds=1.0)


@dataclass(slots=True, eq=False)
class Pod:
    """One engine and the gateway's view of it.

    Attributes:
        number: Its place in the pool.
        engine: The simulated engine.
        backend: What the gateway knows.
        outstanding: Requests sent and not ended, for load balancers.
        finished: Requests ended.
    """

    number: int
    engine: CountedEngine
    backend: Backend
    outstanding: int = 0
    finished: int = 0

    def submit(self, item: CountedRequest, now: float) -> None:
        """Send a request; the engine may begin a step, or end its present one earlier."""
        self.engine.submit(item, Seconds(now))
        self.outstanding += 1
        self.go_on(now)

    def go_on(self, now: float) -> None:
        """Begin the next step where none is in progress."""
        if self.engine.next_end is None:
            self.engine.begin(Seconds(now))

    def end(self, now: float) -> list[Event]:
        """Book the step that ends now."""
        return self.engine.end(Seconds(now))

    def figures(self, now: float) -> EngineFigures:
        """What a scrape of the engine's metrics shows."""
        load = self.engine.observe(Seconds(now))
        config = self.engine.config
        return EngineFigures(
            at=now,
            capacity_tokens=config.num_blocks * config.block_size,
            usage_ratio=load.usage_ratio,
            running=load.running,
            waiting=load.waiting,
            preemptions=float(load.reported_preemptions),
            finished=float(self.finished),
        )


def make_pods(
    count: int, profile: Profile, policy: Policy, admission: AdmissionPolicy
) -> list[Pod]:
    """Equal pods.

    Args:
        count: How many.
        profile: Step times and sizes of each.
        policy: vLLM's ``--scheduling-policy``.
        admission: Of the gateway.
    """
    config = replace(SchedulerConfig.for_profile(profile, policy), prefix_caching=False)
    pods = []
    for number in range(count):
        backend = Backend(
            BackendAddress(BackendName(f"pod-{number}"), "pod", number),
            profile.max_num_seqs,
            CircuitBreaker(_NEVER_BREAKS),
            probe=ProbeState.HEALTHY,
            admission_policy=admission,
        )
        pods.append(Pod(number, CountedEngine(config, profile), backend))
    return pods
