r"""What a server's ``--additional-config`` tells the plugin, and the files that it names.

::

    vllm serve ... --logits-processors alise_vllm.replay:ReplayLengths \
        --additional-config '{"alise": {"replay_file": "lengths.jsonl",
                                        "admin": {"token_file": "/etc/alise/token"}}}'

The admin token may stand in the environment instead, as ``ALISE_ADMIN_TOKEN``. It is never logged;
vLLM logs its command line, so it has no place there.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from alise_core.errors import ConfigError
from alise_vllm.lengths import LengthTable, parse_lengths
from alise_vllm.ordering.settings import OrderingSettings, changed

SECTION = "alise"
REPLAY_FILE = "replay_file"
STEP_SECONDS = "step_seconds"
_MOST_STEP_SECONDS = 10.0
ADMIN = "admin"
SCHEDULER = "scheduler"
SCHEDULER_CLASS = "alise_vllm.scheduler.AliseScheduler"
"""As vLLM's ``--scheduler-cls`` names it."""
TIER = "tier"
TOKEN_FILE = "token_file"
TOKEN_VARIABLE = "ALISE_ADMIN_TOKEN"
_KNOWN = frozenset({ADMIN, REPLAY_FILE, SCHEDULER, STEP_SECONDS, TIER})
_VARIABLES: Mapping[str, str] = os.environ  # noqa: TID251  this is where settings are read
_REMEDY = f"""--additional-config '{{"{SECTION}": {{"{REPLAY_FILE}": "lengths.jsonl"}}}}'"""
TOKEN_REMEDY = (
    f"name a file with the admin token, --additional-config "
    f"""'{{"{SECTION}": {{"{ADMIN}": {{"{TOKEN_FILE}": "/etc/alise/token"}}}}}}', """
    f"or set {TOKEN_VARIABLE}"
)
_TOKEN = re.compile(r"[!-~]{8,1024}")
"""What fits a header field; fewer than 8 characters are soon guessed."""


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


def read_tier(additional_config: object) -> object:
    """The tier's section as it was given, for the tier to read; None where there is none.

    Args:
        additional_config: vLLM's, as it was given.

    Raises:
        ConfigError: There is a name beside it that nobody reads.
    """
    return (_section(additional_config) or {}).get(TIER)


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
    value = (_section(additional_config) or {}).get(STEP_SECONDS)
    # A JSON true is a number to Python.
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
        if 0 < seconds <= _MOST_STEP_SECONDS:
            return seconds
    raise ConfigError(
        f"'{STEP_SECONDS}' has to be a number above 0 and up to {_MOST_STEP_SECONDS:g}, not "
        f"""{value!r}: --additional-config '{{"{SECTION}": {{"{STEP_SECONDS}": 0.02}}}}'"""
    )


def read_admin_token(
    additional_config: object, variables: Mapping[str, str] = _VARIABLES
) -> str | None:
    """What callers of the admin routes have to state; None where nothing was set.

    Args:
        additional_config: vLLM's, as it was given.
        variables: The environment; the file goes before it.

    Raises:
        ConfigError: A setting is unknown, the file cannot be read, or what is in it is no token.
    """
    admin = (_section(additional_config) or {}).get(ADMIN, {})
    if not isinstance(admin, Mapping):
        raise ConfigError(f"'{ADMIN}' has to be a JSON object; {TOKEN_REMEDY}")
    _check_known(ADMIN, admin, frozenset({TOKEN_FILE}))
    path = admin.get(TOKEN_FILE)
    if path is None:
        token = variables.get(TOKEN_VARIABLE)
        return None if token is None else _checked(token, TOKEN_VARIABLE)
    if not isinstance(path, str) or not path:
        raise ConfigError(f"'{TOKEN_FILE}' has to be the path of a file; {TOKEN_REMEDY}")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(
            f"{TOKEN_FILE} {path} cannot be read ({error}); write it first"
        ) from error
    return _checked(text, f"{TOKEN_FILE} {path}")


def _checked(token: str, name: str) -> str:
    """The token without white space around it; the error does not show it."""
    token = token.strip()
    if not _TOKEN.fullmatch(token):
        raise ConfigError(f"{name} holds no token; put 8 to 1024 printable ASCII characters there")
    return token


def _section(additional_config: object) -> Mapping[str, object] | None:
    """What is meant for the plugin; None where nothing is.

    Raises:
        ConfigError: It is no object, or has a name that nobody reads: a misspelt one would be left
            out in silence.
    """
    whole = additional_config if isinstance(additional_config, Mapping) else {}
    section = whole.get(SECTION)
    if section is None:
        return None
    if not isinstance(section, Mapping):
        raise ConfigError(f"'{SECTION}' has to be a JSON object; start vLLM with {_REMEDY}")
    _check_known(SECTION, section, _KNOWN)
    return section


def _check_known(name: str, section: Mapping[str, object], known: frozenset[str]) -> None:
    unknown = sorted(str(key) for key in section.keys() - known)
    if unknown:
        there_are = ", ".join(sorted(known))
        raise ConfigError(f"'{name}' has no setting {unknown[0]!r}; there is: {there_are}")
