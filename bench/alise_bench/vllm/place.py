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

    def millions(self) -> int | None:
        """Parameters of the model; ``None`` where its weights are not one file of two bytes each.

        The file's head is some kilobytes, which is nothing beside a million parameters.
        """
        weights = Path(self.model) / "model.safetensors"
        return round(weights.stat().st_size / 2e6) if weights.is_file() else None


def parse_vllm(text: str) -> VllmPlace:
    """Read the line of ``tools/vllm_env.py``.

    Raises:
        ConfigError: It is not that.
    """
    try:
        return msgspec.json.decode(text, type=VllmPlace)
    except msgspec.DecodeError as error:
        raise ConfigError(f"--vllm wants the JSON line of tools/vllm_env.py: {error}") from error


def model_text(place: VllmPlace) -> str:
    """What the model is, for the conditions of a result."""
    millions = place.millions()
    size = "a model" if millions is None else f"{millions} million parameters"
    return f"{size}, random weights (tools/vllm_model.py)"
