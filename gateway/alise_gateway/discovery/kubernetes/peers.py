"""How many gateways there are, and which of them we are. Pure."""

from collections.abc import Iterable

from alise_core.shares import WHOLE, Share
from alise_gateway.discovery.kubernetes.pods import Pod


def share_among(peers: Iterable[Pod], own_name: str) -> Share:
    """Our place among the ready gateways, in the order of their names.

    We count ourselves whether the cluster takes us to be ready or not: who has work in hand, at the
    beginning or at the end, has to do it. The others do not count a gateway that is not ready, so
    that a replaced one's part is free for them at once; while it finishes what it has, the parts of
    all together are a little more than the whole.

    Args:
        peers: Pods of the gateway, ours included or not.
        own_name: Of our pod.
    """
    names = {pod.name for pod in peers if pod.is_ready and not pod.is_leaving} | {own_name}
    if len(names) == 1:
        return WHOLE
    return Share(sorted(names).index(own_name), len(names))
