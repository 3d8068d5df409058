"""Where a real vLLM is."""

from pathlib import Path

import msgspec

from alise_core.errors import ConfigError

_LARGE_MILLIONS = 20
"""Parameters from which a model's results have a name of their own."""


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

    def size_name(self) -> str:
        """What the names of a model's results end in; empty for the usual, tiny one."""
        millions = self.millions() or 0
        return f"{millions}m" if millions >= _LARGE_MILLIONS else ""

    def kv_bytes_per_token(self) -> int:
        """Memory that a token's keys and values take, at two bytes a number.

        Raises:
            ConfigError: The model's config.json does not say it.
        """
        file = Path(self.model) / "config.json"
        try:
            shape = msgspec.json.decode(file.read_bytes(), type=_Shape)
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigError(f"--vllm: {file} does not say the model's shape: {error}") from error
        head_size = shape.hidden_size // shape.num_attention_heads
        return 2 * 2 * shape.num_hidden_layers * shape.num_key_value_heads * head_size


class _Shape(msgspec.Struct, frozen=True):
    hidden_size: int
    num_attention_heads: int
    num_hidden_layers: int
    num_key_value_heads: int


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
