"""Tiny bundles that serving accepts, and ways to spoil them.

The graphs are honest ones: tier 0 averages rows of a table, tier 1 adds up rows of an embedding,
so that different requests get different predictions.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import log1p
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from alise_core.prediction import LEVELS
from alise_predictor.artifact import (
    FORMAT_VERSION,
    MANIFEST,
    TIER0,
    TIER1,
    TOKENIZER,
    Bundle,
    Dataset,
    Description,
    Prior,
    Tier1Facts,
    Training,
    write_bundle,
)
from alise_predictor.features import BUCKETS, SCALARS, schema_hash

LOWEST, HIGHEST = 1, 2_000
EMBEDDING = 4
HEAD_PIECES, TAIL_PIECES = 6, 3
TALKATIVE = "talkative"
"""A model with an offset."""
TALKATIVE_OFFSET = 0.5

_WORDS = """write a an the of essay list code python please about sea cat dog and to in is what how
why tell me ##s ##ing"""
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = {word: index for index, word in enumerate((*SPECIAL, *_WORDS.split()))}

Weights = dict[str, npt.NDArray[np.generic]]

_OPSET = 17
_IR = 9


@dataclass(frozen=True, kw_only=True)
class BundleOptions:
    """What the bundle is like; the defaults are valid.

    Attributes:
        tier1: With an encoder and a tokenizer.
        ids_name: Of tier 0's first input.
        scalars: Scalar features that the graphs take.
        buckets: Rows of tier 0's table.
        bias: Added to the quantiles; NaN makes a model that predicts nothing.
        descending: The quantiles come out in the wrong order.
        output_name: Of tier 0's quantiles.
        levels: Quantiles that come out.
        weight: Of tier 1.
    """

    tier1: bool = False
    ids_name: str = "ids"
    scalars: int = len(SCALARS)
    buckets: int = BUCKETS
    bias: float = 0.0
    descending: bool = False
    output_name: str = "log_quantiles"
    levels: int = len(LEVELS)
    weight: float = 0.7


def description(*, tier1: bool = False, weight: float = 0.7) -> Description:
    """What a trainer would say about a bundle."""
    facts = Tier1Facts(
        head_pieces=HEAD_PIECES, tail_pieces=TAIL_PIECES, weight=weight, embedding_size=EMBEDDING
    )
    bottom, top = log1p(LOWEST), log1p(HIGHEST)
    return Description(
        format_version=FORMAT_VERSION,
        name="tiny",
        version="1",
        created=date(2026, 1, 2),
        feature_schema=schema_hash(),
        levels=LEVELS,
        lowest_tokens=LOWEST,
        highest_tokens=HIGHEST,
        tier1=facts if tier1 else None,
        token_unit="cl100k_base",
        model_offsets={TALKATIVE: TALKATIVE_OFFSET},
        training=Training(
            datasets=(
                Dataset(
                    name="made up",
                    licence="CC0-1.0",
                    permissive=True,
                    prompts=1,
                    answers=1,
                    sha256="0" * 64,
                ),
            ),
            split_salt="salt",
            command="none",
            seed=0,
        ),
        metrics={"made up": {"tau": 0.5}},
        licence="Apache-2.0",
        base_model=None,
        prior=Prior(log_quantiles=tuple(bottom + level * (top - bottom) for level in LEVELS)),
    )


def files(options: BundleOptions | None = None) -> dict[str, bytes]:
    """The files of a bundle, the manifest not among them."""
    options = options or BundleOptions()
    made = {TIER0: tier0_graph(options)}
    if options.tier1:
        made |= {TIER1: tier1_graph(options), TOKENIZER: tokenizer()}
    return made


def tiny_bundle(directory: Path, options: BundleOptions | None = None) -> Bundle:
    """Write a bundle and load it."""
    options = options or BundleOptions()
    about = description(tier1=options.tier1, weight=options.weight)
    return write_bundle(directory, about, files(options))


def edit_manifest(directory: Path, **fields: object) -> None:
    """Overwrite fields of a written manifest; ``None`` stays ``None``."""
    path = directory / MANIFEST
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps({**document, **fields}), encoding="utf-8")


def drop_field(directory: Path, field: str) -> None:
    """Take one field out of a written manifest."""
    path = directory / MANIFEST
    document = json.loads(path.read_bytes())
    del document[field]
    path.write_text(json.dumps(document), encoding="utf-8")


def flip_byte(path: Path, position: int = -1) -> None:
    """Change one byte and nothing else."""
    content = bytearray(path.read_bytes())
    content[position] ^= 0x01
    path.write_bytes(bytes(content))


def tokenizer(words: dict[str, int] | None = None) -> bytes:
    """A WordPiece tokenizer in the file format of the ``tokenizers`` library."""
    document: dict[str, object] = {
        "version": "1.0",
        "truncation": {
            "direction": "Right",
            "max_length": 2,
            "strategy": "LongestFirst",
            "stride": 0,
        },
        "padding": None,
        "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": VOCABULARY if words is None else words,
        },
    }
    return json.dumps(document).encode()


def tier0_graph(options: BundleOptions) -> bytes:
    """Mean of table rows, plus the scalars, spread over the levels."""
    random = np.random.default_rng(0)
    weights: Weights = {
        "table": random.integers(-8, 8, (options.buckets, 1)).astype(np.int8),
        "scale": np.array(0.2, np.float32),
        "mix": np.full((options.scalars, 1), 0.1, np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", options.ids_name], ["rows"]),
        helper.make_node("Cast", ["rows"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["mean"], axes=[0], keepdims=0),
        helper.make_node("Mul", ["mean", "scale"], ["words"]),
        helper.make_node("MatMul", ["scalars", "mix"], ["numbers"]),
        helper.make_node("Add", ["words", "numbers"], ["centre"]),
    ]
    inputs = [
        helper.make_tensor_value_info(options.ids_name, TensorProto.INT64, ["n"]),
        helper.make_tensor_value_info("scalars", TensorProto.FLOAT, [options.scalars]),
    ]
    outputs = [
        helper.make_tensor_value_info(options.output_name, TensorProto.FLOAT, [options.levels])
    ]
    return _model([*nodes, *_spread(weights, options)], inputs, outputs, weights)


def tier1_graph(options: BundleOptions, rows: int | None = None) -> bytes:
    """Direction of the sum of embedding rows under the mask, and a linear head on it.

    Args:
        options: Of the bundle.
        rows: Of the embedding; one for each word unless given.
    """
    random = np.random.default_rng(1)
    size = len(VOCABULARY) if rows is None else rows
    weights: Weights = {
        "table": random.normal(0, 1, (size, EMBEDDING)).astype(np.float32),
        "axis": np.array([1], np.int64),
        "last": np.array([2], np.int64),
        "mix": np.full((options.scalars, 1), 0.1, np.float32),
        "head": random.normal(0, 1, (EMBEDDING, 1)).astype(np.float32),
        "tiny": np.array(1e-6, np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["mask3"]),
        helper.make_node("Mul", ["rows", "mask3"], ["seen"]),
        helper.make_node("ReduceSum", ["seen", "axis"], ["sum"], keepdims=0),
        helper.make_node("ReduceL2", ["sum"], ["norm"], axes=[1], keepdims=1),
        helper.make_node("Add", ["norm", "tiny"], ["divisor"]),
        helper.make_node("Div", ["sum", "divisor"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "head"], ["words"]),
        helper.make_node("MatMul", ["scalars", "mix"], ["numbers"]),
        helper.make_node("Add", ["words", "numbers"], ["centre"]),
    ]
    inputs = [
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "s"]),
        helper.make_tensor_value_info("attention_mask", TensorProto.INT64, [1, "s"]),
        helper.make_tensor_value_info("scalars", TensorProto.FLOAT, [1, options.scalars]),
    ]
    outputs = [
        helper.make_tensor_value_info("log_quantiles", TensorProto.FLOAT, [1, len(LEVELS)]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, EMBEDDING]),
    ]
    return _model([*nodes, *_spread(weights, options)], inputs, outputs, weights)


def _spread(weights: Weights, options: BundleOptions) -> list[onnx.NodeProto]:
    """From one number, ``centre``, to ordered quantiles inside the range."""
    spread = np.linspace(-1.0, 1.0, options.levels, dtype=np.float32)
    if options.descending:
        spread = spread[::-1].copy()
    weights["spread"] = spread + np.float32(4.0 + options.bias)
    weights["low"] = np.array(log1p(LOWEST), np.float32)
    weights["high"] = np.array(log1p(HIGHEST), np.float32)
    return [
        helper.make_node("Add", ["centre", "spread"], ["open"]),
        helper.make_node("Clip", ["open", "low", "high"], [options.output_name]),
    ]


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Weights,
) -> bytes:
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = _IR
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised
