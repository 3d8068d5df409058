r"""What a server's ``--additional-config`` tells the plugin, and the file that it names.

::

    vllm serve ... --logits-processors alise_vllm.replay:ReplayLengths \
        --additional-config '{"alise": {"replay_file": "lengths.jsonl"}}'
"""

from collections.abc import Mapping
from pathlib import Path

from alise_core.errors import ConfigError
from alise_vllm.lengths import LengthTable, parse_lengths
from alise_vllm.ordering.settings import OrderingSettings, changed

SECTION = "alise"
REPLAY_FILE = "replay_file"
STEP_SECONDS = "step_seconds"
_MOST_STEP_SECONDS = 10.0
SCHEDULER = "scheduler"
TIER = "tier"
"""Read by the tier itself."""
_KNOWN = frozenset({REPLAY_FILE, STEP_SECONDS, SCHEDULER, TIER})
_REMEDY = f"""--additional-config '{{"{SECTION}": {{"{REPLAY_FILE}": "lengths.jsonl"}}}}'"""


def read_lengths(additional_config: object) -> LengthTable:
    """The recorded lengths that a server is started with.

    Args:
        additional_config: vLLM's, as it was given; a relative path is taken from the directory
            that the server was started in.

    Raises:
        ConfigError: No file is named, it cannot be read, a line is wrong, or it holds none.
    """
    path = _replay_file(additional_config)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{REPLAY_FILE} {path} cannot be read ({error}); write it before the server starts"
        ) from error
    table = LengthTable(parse_lengths(text.split("\n"), str(path)))
    if not len(table):
        raise ConfigError(f"{REPLAY_FILE} {path}, line 1: holds no recorded length; write some")
    return table


def read_scheduler(additional_config: object) -> OrderingSettings:
    """What the scheduler is started with; the defaults where nothing is said.

    Args:
        additional_config: vLLM's, as it was given.

    Raises:
        ConfigError: A name is unknown or a value wrong; with name, value and remedy.
    """
    section = _section(additional_config) or {}
    changes = section.get(SCHEDULER, {})
    if not isinstance(changes, Mapping):
        raise ConfigError(
            f"'{SCHEDULER}' is {str(changes)[:80]!r} and has to be an object of settings, "
            f"""for example {{"policy": "srpt"}}"""
        )
    try:
        return changed(OrderingSettings(), changes)
    except ConfigError as error:
        raise ConfigError(f"'{SECTION}': '{SCHEDULER}': {error}") from error


def _section(additional_config: object) -> Mapping[str, object] | None:
    """The plugin's section, or None where it has none."""
    whole = additional_config if isinstance(additional_config, Mapping) else {}
    section = whole.get(SECTION)
    if not isinstance(section, Mapping):
        return None
    unknown = sorted(str(name) for name in section.keys() - _KNOWN)
    if unknown:
        known = ", ".join(sorted(_KNOWN))
        raise ConfigError(
            f"'{SECTION}' has no setting {unknown[0]!r}; it takes {known}, like {_REMEDY}"
        )
    return section


def _replay_file(additional_config: object) -> Path:
    section = _section(additional_config)
    if section is None:
        raise ConfigError(f"no recorded lengths are named: start vLLM with {_REMEDY}")
    path = section.get(REPLAY_FILE)
    if not isinstance(path, str) or not path:
        raise ConfigError(f"'{REPLAY_FILE}' has to be the path of a file: {_REMEDY}")
    return Path(path)


def read_step_seconds(additional_config: object) -> float:
    """How long a step takes at least.

    Args:
        additional_config: vLLM's, as it was given.

    Raises:
        ConfigError: It is missing, or no number of seconds that a step can take.
    """
    whole = additional_config if isinstance(additional_config, Mapping) else {}
    section = whole.get(SECTION)
    value = section.get(STEP_SECONDS) if isinstance(section, Mapping) else None
    # A JSON true is a number to Python.
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
        if 0 < seconds <= _MOST_STEP_SECONDS:
            return seconds
    raise ConfigError(
        f"'{STEP_SECONDS}' has to be a number above 0 and up to {_MOST_STEP_SECONDS:g}, not "
        f"""{value!r}: --additional-config '{{"{SECTION}": {{"{STEP_SECONDS}": 0.02}}}}'"""
    )
