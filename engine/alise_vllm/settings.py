r"""What a server's ``--additional-config`` tells the plugin, and the file that it names.

::

    vllm serve ... --logits-processors alise_vllm.replay:ReplayLengths \
        --additional-config '{"alise": {"replay_file": "lengths.jsonl"}}'
"""

from collections.abc import Mapping
from pathlib import Path

from alise_core.errors import ConfigError
from alise_vllm.lengths import LengthTable, parse_lengths

SECTION = "alise"
REPLAY_FILE = "replay_file"
PARTS = ("tier",)
"""Sections of their own, each read by its part of the plugin."""
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


def _replay_file(additional_config: object) -> Path:
    whole = additional_config if isinstance(additional_config, Mapping) else {}
    section = whole.get(SECTION)
    if not isinstance(section, Mapping):
        raise ConfigError(f"no recorded lengths are named: start vLLM with {_REMEDY}")
    unknown = sorted(str(name) for name in section.keys() - {REPLAY_FILE, *PARTS})
    if unknown:
        raise ConfigError(f"'{SECTION}' has no setting {unknown[0]!r}; it takes {_REMEDY}")
    path = section.get(REPLAY_FILE)
    if not isinstance(path, str) or not path:
        raise ConfigError(f"'{REPLAY_FILE}' has to be the path of a file: {_REMEDY}")
    return Path(path)
