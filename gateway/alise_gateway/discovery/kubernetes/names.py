"""Aliases and fallbacks of all pools together, and of the settings. Pure.

Each is taken up if it can stand beside those before it: the settings' own first, then the oldest
pool's. One that cannot is reported and left out, and nothing else suffers from it. The outcome
always passes ``check_aliases`` and ``check_fallbacks``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from alise_core.crds.model_pool import Alias, Fallback
from alise_gateway.discovery.catalogue import Aliases, Target
from alise_gateway.discovery.kubernetes.pools import PoolPlan
from alise_gateway.discovery.kubernetes.problems import Problem


@dataclass(frozen=True, slots=True)
class Names:
    """What clients may ask for besides what backends serve.

    Attributes:
        aliases: Name to served models.
        fallbacks: Served model to the one that stands in.
    """

    aliases: Aliases = field(default_factory=dict)
    fallbacks: Mapping[str, str] = field(default_factory=dict)


class _Merging:
    def __init__(self, names: Names) -> None:
        self.aliases = dict(names.aliases)
        self.fallbacks = dict(names.fallbacks)
        self._targets = {target.model for targets in self.aliases.values() for target in targets}
        self._stand_ins = set(self.fallbacks.values())

    def alias(self, name: str, targets: tuple[Target, ...]) -> str | None:
        """Take one up, or say why not."""
        known = self.aliases.get(name)
        models = [target.model for target in targets]
        if known is not None:
            return None if known == targets else f"alias {name!r} is taken by an older pool"
        if name in models:
            return f"alias {name!r} stands for itself; remove it"
        if len(set(models)) < len(models):
            return f"alias {name!r} names a model more than once; add up its weights"
        if name in self._targets:
            return f"alias {name!r} is a model that an older alias leads to"
        if name in self.fallbacks or name in self._stand_ins:
            return f"alias {name!r} is a model that an older fallback names"
        chained = next((model for model in models if model in self.aliases), None)
        if chained is not None:
            return f"alias {name!r} leads to {chained!r}, which is an alias; name the served model"
        self.aliases[name] = targets
        self._targets.update(models)
        return None

    def fallback(self, model: str, stand_in: str) -> str | None:
        """Take one up, or say why not."""
        known = self.fallbacks.get(model)
        if known is not None:
            return None if known == stand_in else f"fallback of {model!r} is set by an older pool"
        if model == stand_in:
            return f"fallback of {model!r} is itself; remove it"
        if stand_in in self.fallbacks or model in self._stand_ins:
            return f"fallback of {model!r} makes a chain with an older one; only one step is taken"
        alias = next((name for name in (model, stand_in) if name in self.aliases), None)
        if alias is not None:
            return f"fallback of {model!r} names {alias!r}, which is an alias; name the model"
        self.fallbacks[model] = stand_in
        self._stand_ins.add(stand_in)
        return None


def merge_names(own: Names, plans: Iterable[PoolPlan]) -> tuple[Names, list[Problem]]:
    """What counts, and what does not.

    Args:
        own: Of the settings; known to be good.
        plans: The oldest first.
    """
    merging = _Merging(own)
    problems: list[Problem] = []
    for plan in plans:
        said = [_alias(merging, alias) for alias in plan.aliases]
        said += [_fallback(merging, fallback) for fallback in plan.fallbacks]
        ref = plan.ref
        problems += [
            Problem(ref.kind.value, ref.namespace, ref.name, text) for text in said if text
        ]
    return Names(merging.aliases, merging.fallbacks), problems


def _alias(merging: _Merging, alias: Alias) -> str | None:
    targets = tuple(Target(target.model, target.weight) for target in alias.targets)
    return merging.alias(alias.name, targets)


def _fallback(merging: _Merging, fallback: Fallback) -> str | None:
    return merging.fallback(fallback.model, fallback.fallback)
