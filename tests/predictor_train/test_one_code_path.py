"""Training sees of a request exactly what serving does."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given
from hypothesis import strategies as st

from alise_predictor.artifact import TOKENIZER
from alise_predictor.request import from_body
from alise_predictor.serving import LengthPredictor
from alise_predictor.serving.pieces import PieceReader
from alise_predictor.train.dataset import Corpus, load_corpus
from alise_predictor.train.dataset.split import SPLITS, in_distribution
from alise_predictor.train.encoder import packaged_weights
from alise_predictor.train.examples import Examples, gather
from alise_predictor.train.network import LengthRange
from alise_predictor.train.run_state import RunDirectory
from alise_predictor.train.tier1 import Tier1Trainer
from fakes.predictor_bundle import tiny_bundle
from predictor_train.conftest import Training

pytestmark = pytest.mark.slow

INT8_ERROR = 0.03
"""Of log quantiles: int8 weights against bfloat16; 0.01 was measured."""

BODIES: list[dict[str, object]] = [
    {"prompt": "Write an essay about the sea."},
    {"prompt": ""},
    {"prompt": "é" * 9_000},
    {"prompt": "``` \u0000 東京 ???" * 700},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}]}]},
    {
        "messages": [
            {"role": "system", "content": "Answer in JSON."},
            {"role": "user", "content": "List three cats."},
            {"role": "assistant", "content": "Tom"},
            {"role": "user", "content": "And dogs?\nWhy?"},
        ],
        "response_format": {"type": "json_object"},
        "tools": [{"type": "function"}],
        "max_tokens": 300,
    },
]


def _corpus(directory: Path, bodies: list[dict[str, object]]) -> Corpus:
    lines = [json.dumps({**body, "model": "m", "output_tokens": 9}) for body in bodies]
    (directory / "log.jsonl").write_text("\n".join(lines) + "\n")
    return load_corpus(directory, permissive_only=False)


def _gather(corpus: Corpus) -> Examples:
    return gather(corpus, in_distribution(corpus), range(len(SPLITS)))


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> LengthPredictor:
    return LengthPredictor.open(tiny_bundle(tmp_path_factory.mktemp("bundle")), tier1=False)


def test_features_are_bit_identical(tmp_path: Path, predictor: LengthPredictor) -> None:
    corpus = _corpus(tmp_path, BODIES)
    examples = _gather(corpus)

    assert len(examples) == len(BODIES)
    for body, learned in zip(BODIES, examples.features, strict=True):
        # As it comes over the wire, with fields that only serving sees.
        sent = json.loads(json.dumps({**body, "model": "alias", "stream": True}))
        served = predictor.predict(from_body(sent, "m")).features
        assert served.ids.tobytes() == learned.ids.tobytes()
        assert served.scalars.tobytes() == learned.scalars.tobytes()


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@given(st.lists(_TEXT, min_size=1, max_size=4), st.booleans())
def test_features_are_bit_identical_for_any_conversation(
    predictor: LengthPredictor, tmp_path_factory: pytest.TempPathFactory, texts: list[str],
    json_mode: bool,
) -> None:  # fmt: skip
    body: dict[str, object] = {
        "messages": [
            {"role": "user" if index % 2 == 0 else "assistant", "content": text}
            for index, text in enumerate(texts)
        ]
    }
    if json_mode:
        body["response_format"] = {"type": "json_object"}
    learned = _gather(_corpus(tmp_path_factory.mktemp("data"), [body])).features[0]
    served = predictor.predict(from_body(body, "m")).features

    assert served.ids.tobytes() == learned.ids.tobytes()
    assert served.scalars.tobytes() == learned.scalars.tobytes()


def test_word_pieces_are_the_same(tiny_training: Training) -> None:
    bundle = tiny_training.trained.bundle
    facts = bundle.manifest.tier1
    span = LengthRange(*bundle.manifest.log_range)
    learned = Tier1Trainer(packaged_weights(), span, tiny_training.options.encoder)._reader
    served = PieceReader(bundle.read(TOKENIZER), facts.head_pieces, facts.tail_pieces)
    for request in (from_body(body, "m") for body in BODIES):
        ids = served.ids(request.prompt)
        assert ids == learned.ids(request.prompt)
        assert 2 <= len(ids) <= 11
        # As training keeps them.
        assert np.array(ids, np.int32).tolist() == ids


def test_tier_1_is_served_as_it_was_trained(tiny_training: Training) -> None:
    options, bundle = tiny_training.options, tiny_training.trained.bundle
    weights = packaged_weights()
    span = LengthRange(*bundle.manifest.log_range)
    trainer = Tier1Trainer(weights, span, options.encoder)
    network = RunDirectory(options.out / "run").load_tier1(weights, span)
    trainer.network.load_state_dict(network.state_dict())
    predictor = LengthPredictor.open(bundle, tier1=True)
    requests = [from_body(body, "m") for body in BODIES]
    first = [predictor.predict(request) for request in requests]
    trained = trainer.log_quantiles(requests, [one.features for one in first])
    weight = bundle.manifest.tier1.weight
    for request, tier0, tier1 in zip(requests, first, trained, strict=True):
        served = np.array(predictor.refine(request, tier0).log_quantiles)
        expected = weight * tier1 + (1 - weight) * np.array(tier0.log_quantiles)
        assert np.abs(served - expected).max() < INT8_ERROR
