"""What the tuner asks of whoever changes how pods are started: the seam to ``canary``.

The tuner decides that pods should start with another dtype, and goes by what comes back. How a
workload gets there, one pod first, is not its matter, nor what is in the way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from alise_core.crds.governing import PoolRef
from alise_operator.decide.announcements import Announcement
from alise_operator.tending import TendedPool
from alise_operator.tuning.observed import GateResult, Workload
from alise_operator.tuning.plan import Restart
from alise_operator.tuning.samples import PodSample


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine of a pod.

    Attributes:
        base: ``SCHEME://HOST:PORT/BASE_PATH`` without a slash at the end.
        sample: The newest look at it; ``None`` where there was none.
    """

    base: str
    sample: PodSample | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands before a decision.

    Attributes:
        workload: What owns the pods; ``None`` where that is not known or not one thing.
        gate: What is known of the change that was asked for last.
        obstacle: Why no dtype can be changed here, whichever it is; empty where it can.
        held: What failed and is not tried again yet, with its figures; empty where nothing is.
    """

    workload: Workload | None = None
    gate: GateResult | None = None
    obstacle: str = ""
    held: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """What one step came to.

    Attributes:
        text: Where the change stands, with figures; empty where there is none.
        waits: Others are in the way, and it waits for them.
        degraded: It failed, or goes back.
        looked: The change was looked at: whoever counts its time goes by this.
        problem: What could not be done and will not be, as things are; empty where nothing.
        news: Told once.
    """

    text: str = ""
    waits: bool = False
    degraded: bool = False
    looked: bool = False
    problem: str = ""
    news: tuple[Announcement, ...] = ()


class Restarts(Protocol):
    """See the module. Neither call raises for what is wrong with a cluster: it says so."""

    @property
    def allowed(self) -> bool:
        """The operator may change workloads at all."""
        ...

    async def stand(self, pool: TendedPool, *, closely: bool) -> Standing:
        """Look at what owns a pool's pods.

        Args:
            pool: As it is now.
            closely: A change is meant to be under way: what was seen a minute ago is too old.
        """
        ...

    async def move(
        self,
        pool: TendedPool,
        wanted: Sequence[Restart],
        engines: Mapping[str, Engine],
        *,
        begin: bool,
    ) -> Moved:
        """One step towards what is wanted, or back.

        Args:
            pool: As it is now.
            wanted: One of a kind; what is under way and of none of them is taken back.
            engines: Of its pods, by their names.
            begin: A change that is not under way may be begun.
        """
        ...

    def let_go(self, pool: PoolRef) -> None:
        """The pool is not tended any more by this process; its workload stays as it is."""
        ...
