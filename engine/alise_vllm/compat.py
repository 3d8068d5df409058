"""Which versions of vLLM the plugin was tested with; pure.

The scheduler meets methods and attributes of vLLM that are nobody's public interface, so another
version is refused rather than tried. ``e2e/vllm/test_seams.py`` looks at every one of them.
"""

from alise_core.errors import ConfigError

TESTED = ("0.32.0",)


def require_tested(found: str, part: str) -> None:
    """Refuse a vLLM that the plugin was not tested with.

    Args:
        found: vLLM's version; what follows a "+" names the build and does not matter.
        part: What would run in it, for the error.

    Raises:
        ConfigError: Another version, in one line.
    """
    if found.partition("+")[0] not in TESTED:
        raise ConfigError(
            f"{part} is tested with vLLM {' and '.join(TESTED)} and this is vLLM {found}; "
            f"install vllm=={TESTED[-1]}, or start without {part}"
        )
