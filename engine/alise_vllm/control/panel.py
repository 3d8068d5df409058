"""All tunable parts of one engine, looked at together and changed together; pure.

A change is all or nothing: every part has agreed to its share before any part is changed. The
panel runs in the engine's process between two steps, so nothing else moves meanwhile.
"""

from collections.abc import Callable, Iterable, Mapping
from math import isfinite

from alise_core.errors import ConfigError
from alise_vllm.tunable import Json, Tunable

Changed = dict[str, dict[str, Json]]
"""By part and key: ``[before, after]``."""
_SHOWN_CHARS = 200
_DEEPEST = 8
"""What nests further is cut: no part has a reason to, and JSON writers give up at some depth."""


class Refused(ConfigError):
    """Changes that were asked for and not made, not one of them.

    Attributes:
        param: ``part`` or ``part.key`` at fault; None where it is the whole.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class Panel:
    """See the module.

    Args:
        parts: Each under a name of its own.

    Raises:
        ConfigError: Two parts have one name.
    """

    def __init__(self, parts: Iterable[Tunable]) -> None:
        self._parts: dict[str, Tunable] = {}
        for part in parts:
            if part.name in self._parts:
                raise ConfigError(f"two parts are called {part.name!r}; load one of them only")
            self._parts[part.name] = part

    def state(self) -> dict[str, Json]:
        """What there is to see of every part, fit for JSON.

        A part that fails has ``{"error": ...}`` in its place and hides no other.
        """
        return {name: _seen(part) for name, part in self._parts.items()}

    def plan(self, changes: object) -> Callable[[], Changed]:
        """Check changes without making any.

        Args:
            changes: ``{part: {key: value}}``, as it came out of JSON.

        Returns: Makes them all.

        Raises:
            Refused: A part, key or value is wrong; names it and the remedy.
        """
        if not isinstance(changes, Mapping):
            raise Refused("the changes are no JSON object; send {part: {key: value}}")
        planned = [(str(name), self._plan(str(name), share)) for name, share in changes.items()]
        return lambda: {name: _fit(apply()) for name, apply in planned}

    def _plan(self, name: str, share: object) -> Callable[[], Mapping[str, Json]]:
        part = self._parts.get(name)
        if part is None:
            shown, known = name[:_SHOWN_CHARS], ", ".join(self._parts) or "none at all"
            raise Refused(f"there is no part {shown!r} here; there are: {known}", shown)
        if not isinstance(share, Mapping):
            raise Refused(f"'{name}' is no JSON object; send {{key: value}}", name)
        try:
            return part.plan(share)
        except ConfigError as error:
            raise Refused(f"{name}: {error}", _at_fault(name, share, str(error))) from error
        except Exception as error:
            # The boundary to parts: what one of them did not expect is refused like the rest.
            shown = f"{type(error).__name__}: {error}"[:_SHOWN_CHARS]
            raise Refused(f"{name}: cannot be changed so ({shown})", name) from error


def _seen(part: Tunable) -> Json:
    try:
        return _fit(part.state())
    except Exception as error:
        # The boundary to parts: looking is for the day on which something is broken.
        return {"error": f"{type(error).__name__}: {error}"[:_SHOWN_CHARS]}


def _at_fault(name: str, share: Mapping[str, object], said: str) -> str:
    """The key that an error names first, under its part; behind it come the remedy's."""
    # Of "max" and "max_waiting" at one place the longer is meant.
    places = [(said.index(key), -len(key), key) for key in map(str, share) if key in said]
    return f"{name}.{min(places)[-1]}" if places else name


def _fit(value: Mapping[str, Json]) -> dict[str, Json]:
    return {str(key): fit_json(item) for key, item in value.items()}


def fit_json(value: object, depth: int = 0) -> Json:
    """A value as JSON can hold it: what is no number becomes None, what is unknown its text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {str(key): fit_json(item, depth + 1) for key, item in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple):
        return [fit_json(item, depth + 1) for item in value]
    return str(value)[:_SHOWN_CHARS]
