"""Engines are scaled and rolled under load: no request fails that had a live pod."""

import time

from running.cluster.api import path_of
from running.cluster.installation import Installation
from running.cluster.load import COMPLETE, Ending, load
from running.cluster.rollout import ready_pods, scale, wait_until_rolled_out

ENGINES = {"app": "engine"}
SLACK_SECONDS = 0.5
"""Between a pod's last answer and the moment at which this test sees that it is gone."""


def test_scaling_down_to_nothing_and_up_again(site: Installation) -> None:
    """1 -> 4 -> 0 -> 2 while clients keep asking."""
    try:
        scale(site.api, site.engines, 1)
        site.wait_for_endpoints(1)
        with load(site.url) as seen:
            scale(site.api, site.engines, 4)
            site.wait_for_endpoints(4)
            seen.more(12)
            asked_for_none = time.monotonic()
            scale(site.api, site.engines, 0)
            site.wait_for_endpoints(0)
            scale(site.api, site.engines, 2)
            site.wait_for_endpoints(2)
            serving_again = time.monotonic() + SLACK_SECONDS
            seen.more(12)
    finally:
        scale(site.api, site.engines, 2)
        site.wait_for_endpoints(2)

    def had_a_live_pod(ending: Ending) -> bool:
        return ending.ended < asked_for_none or ending.started > serving_again

    print(f"endings: {dict(seen.counts)}")
    assert [each for each in seen.failed if had_a_live_pod(each)] == []
    # With no engine at all, clients are told so: the gateway never hangs and never breaks off.
    assert {each.outcome.partition(":")[0] for each in seen.failed} <= {
        "InternalServerError",
        "RateLimitError",
    }


def test_a_rolling_update_of_engines_fails_no_stream(site: Installation) -> None:
    before = {pod["metadata"]["name"] for pod in ready_pods(site.api, site.namespace, ENGINES)}
    with load(site.url) as seen:
        template = {"metadata": {"annotations": {"rolled": str(time.monotonic())}}}
        site.api.patch(path_of(site.engines), {"spec": {"template": template}})
        seen.more(4)
        wait_until_rolled_out(site.api, site.engines)
        site.wait_for_endpoints(2)
        seen.more(8)

    after = {pod["metadata"]["name"] for pod in ready_pods(site.api, site.namespace, ENGINES)}
    print(f"endings: {dict(seen.counts)}")
    assert after
    assert not before & after
    assert set(seen.counts) == {COMPLETE}
