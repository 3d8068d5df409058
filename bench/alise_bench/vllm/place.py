"""Where a real vLLM is."""

from pathlib import Path

import msgspec

from alise_core.errors import ConfigError


class VllmPlace(msgspec.Struct, frozen=True):
    """A real vLLM: what ``tools/vllm_env.py`` prints.

    Attributes:
        vllm: Its command.
        model: Directory of the model.
    """

    vllm: str
    model: str

    @property
    def python(self) -> Path:
        """Interpreter of its environment."""
        return Path(self.vllm).with_name("python")


def parse_vllm(text: str) -> VllmPlace:
    """Read the line of ``tools/vllm_env.py``.

    Raises:
        ConfigError: It is not that.
    """
    try:
        return msgspec.json.decode(text, type=VllmPlace)
    except msgspec.DecodeError as error:
        raise ConfigError(f"--vllm wants the JSON line of tools/vllm_env.py: {error}") from error
