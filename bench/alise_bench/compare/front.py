"""Rows that show what the parameters of the orderings trade: short answers against long ones. Pure.

Each is the default policy with one thing changed.
"""

from dataclasses import replace

from alise_bench.compare.rows import DEFAULT, Dispatcher, Row, with_ordering
from alise_core.policy import OrderingName, OrderingPolicy

_GAMMAS = (0.003, 0.01, 0.03, 0.1, 0.3)
_GAMMA_SHARES = (0.25, 0.5, 2.0, 4.0)
_BETAS = (0.0, 0.25, 1.0, 4.0)
_HALF_LIVES = (5.0, 15.0, 60.0)
_GUARDS = (10.0, 60.0, 1e9)
"""Seconds; the last one is no guard."""


def front_rows() -> dict[str, Row]:
    """By name; the name says what is changed."""
    default = DEFAULT.ordering
    changed: dict[str, OrderingPolicy] = {}
    boost = replace(default, name=OrderingName.BOOST)
    cost = replace(default, name=OrderingName.COST)
    sjf = replace(default, name=OrderingName.SJF)
    for gamma in _GAMMAS:
        changed[f"boost, gamma {gamma:g}/s"] = replace(boost, gamma=gamma)
    for share in _GAMMA_SHARES:
        changed[f"boost, gamma share {share:g}"] = replace(boost, gamma=None, gamma_share=share)
    for beta in _BETAS:
        changed[f"cost, beta {beta:g}"] = replace(cost, beta=beta)
    for half_life in _HALF_LIVES:
        changed[f"cost, half-life {half_life:g} s"] = replace(
            cost, aging_half_life_seconds=half_life
        )
        changed[f"sjf, half-life {half_life:g} s"] = replace(sjf, aging_half_life_seconds=half_life)
    changed["cost, no guard"] = replace(cost, guard_seconds=_GUARDS[-1])
    for guard in _GUARDS:
        text = "no guard" if guard == _GUARDS[-1] else f"guard {guard:g} s"
        changed[text] = replace(default, guard_seconds=guard)
    return {
        name: Row(name, Dispatcher.GATEWAY, with_ordering(ordering))
        for name, ordering in changed.items()
    }
