"""The API server goes away for a while: traffic does not notice, and state recovers."""

import time

from running.cluster.figures import Figures
from running.cluster.installation import Installation
from running.cluster.load import COMPLETE, load
from running.cluster.rollout import scale

AWAY_SECONDS = 20.0
"""Long enough for every watch to break and for retries to have backed off as far as they do."""
RECOVERY_SECONDS = 60.0


def test_traffic_goes_on_and_state_recovers(site: Installation, figures: Figures) -> None:
    control_plane = site.cluster.control_plane
    gateways = site.pods("gateway")
    assert all(len(site.usable(pod)) == 2 for pod in gateways)
    with load(site.url) as seen:
        control_plane.stop_api_server()
        try:
            away = time.monotonic()
            while time.monotonic() < away + AWAY_SECONDS:
                seen.more(4)
            assert all(len(site.usable(pod)) == 2 for pod in gateways)
        finally:
            control_plane.start_api_server()
        back = time.monotonic()
        scale(site.api, site.engines, 3)
        site.wait_for_endpoints(3, RECOVERY_SECONDS)
        figures.add(
            "api_server_back_to_new_engine_served_seconds", round(time.monotonic() - back, 1)
        )
        seen.more(6)
        scale(site.api, site.engines, 2)
        site.wait_for_endpoints(2)

    print(f"endings: {dict(seen.counts)}")
    assert set(seen.counts) == {COMPLETE}
    names = {pod["metadata"]["name"] for pod in gateways}
    assert names == {pod["metadata"]["name"] for pod in site.pods("gateway")}
