"""A gateway as the control endpoints see it."""

from alise_gateway.control.view import (
    BackendStatus,
    ClusterStatus,
    EndpointStatus,
    ModelCard,
    PredictorStatus,
    QueueStatus,
    Readiness,
    WatchStatus,
)
from alise_gateway.domain.backend import ProbeState
from alise_gateway.domain.backend_load import BackendLoad
from alise_gateway.domain.breaker import BreakerState
from alise_gateway.domain.prediction import LearnedFigures


class FakeControlView:
    """Implements ``alise_gateway.control.view.ControlView``.

    Args:
        broken: Every call raises, as a bug would.
    """

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.ready = Readiness(ready=True)
        self.draining = False
        self.accepted: list[str | None] = []

    def readiness(self) -> Readiness:
        self._maybe_fail()
        return Readiness(False, ("draining",)) if self.draining else self.ready

    def models(self) -> list[ModelCard]:
        self._maybe_fail()
        return [
            ModelCard("meta-llama/Llama-3.1-8B", 1_750_000_000, "vllm", 131_072),
            ModelCard("small", 0, "vllm"),
        ]

    def backends(self) -> list[BackendStatus]:
        self._maybe_fail()
        return [
            BackendStatus(
                name="10.0.0.1:8000",
                url="http://10.0.0.1:8000",
                probe=ProbeState.HEALTHY,
                breaker=BreakerState.CLOSED,
                usable=True,
                in_flight=3,
                max_in_flight=256,
                models=("small",),
            ),
            BackendStatus(
                name="10.0.0.2:8000",
                url="http://10.0.0.2:8000",
                probe=ProbeState.UNHEALTHY,
                breaker=BreakerState.OPEN,
                usable=False,
                in_flight=0,
                max_in_flight=256,
                probe_error="connection refused",
                load=BackendLoad(in_flight_limit=256.0, step_seconds=0.012),
            ),
        ]

    def queue(self) -> QueueStatus:
        self._maybe_fail()
        return QueueStatus(
            waiting=2,
            waiting_by_class={"default": 2},
            ordering="boost",
            max_waiting=100,
            in_flight=3,
            oldest_wait_seconds=1.5,
            draining=self.draining,
        )

    def predictor(self) -> PredictorStatus:
        self._maybe_fail()
        figures = LearnedFigures("team-a", "small", 700, 0.71, 0.8, 0.9, None, None)
        return PredictorStatus(True, "tiny", "1", ("tier0",), learned_pairs=1, learned=(figures,))

    def cluster(self) -> ClusterStatus:
        self._maybe_fail()
        return ClusterStatus(
            enabled=True,
            settled=True,
            watches=(WatchStatus("Pod", True, 2, 1_750_000_000.5),),
            endpoints=(EndpointStatus("10.0.0.1:8000", "ModelPool ns/chat", "ns/chat-0", True),),
            problems=("Tenant ns/team-a: Secret keys does not exist; create it",),
        )

    def render_metrics(self, accept: str | None) -> tuple[bytes, str]:
        self._maybe_fail()
        self.accepted.append(accept)
        return b"a 1.0\n", "text/plain; version=0.0.4; charset=utf-8"

    def start_drain(self) -> None:
        self._maybe_fail()
        self.draining = True

    def _maybe_fail(self) -> None:
        if self.broken:
            raise RuntimeError("internal detail")
