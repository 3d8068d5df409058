"""A graph that is not what its file name says is refused when it is opened, not when it is run."""

import subprocess
import sys
from pathlib import Path

import pytest

from alise_predictor.artifact import TIER0, TIER1, TOKENIZER, ArtifactError, write_bundle
from alise_predictor.request import from_prompt
from alise_predictor.serving import LengthPredictor, PredictorError
from fakes.predictor_bundle import (
    VOCABULARY,
    BundleOptions,
    description,
    files,
    flip_byte,
    tier0_graph,
    tier1_graph,
    tiny_bundle,
    tokenizer,
)

BOTH = BundleOptions(tier1=True)


def test_a_directory_and_a_bundle_open_alike(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    request = from_prompt("Write an essay about the sea", "m")

    by_bundle = LengthPredictor.open(bundle, tier1=False).predict(request)
    by_path = LengthPredictor.open(bundle.directory, tier1=False).predict(request)

    assert by_bundle.log_quantiles == by_path.log_quantiles


@pytest.mark.parametrize(
    ("options", "wanted", "has"), [(BOTH, True, True), (BOTH, False, False), (None, True, False)]
)
def test_tier1_is_opened_where_it_is_wanted_and_there(
    tmp_path: Path, options: BundleOptions | None, wanted: bool, has: bool
) -> None:
    bundle = tiny_bundle(tmp_path / "bundle", options)

    predictor = LengthPredictor.open(bundle, tier1=wanted)

    assert predictor.has_tier1 is has
    assert predictor.manifest == bundle.manifest


def test_refining_without_tier1_is_refused(tmp_path: Path) -> None:
    predictor = LengthPredictor.open(tiny_bundle(tmp_path / "bundle"), tier1=True)
    request = from_prompt("Write", "m")

    with pytest.raises(PredictorError, match="opened without tier 1"):
        predictor.refine(request, predictor.predict(request))


def test_a_bundle_that_changed_since_it_was_loaded_is_not_opened(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    flip_byte(bundle.directory / TIER0)

    with pytest.raises(ArtifactError, match=r"tier0.onnx: found sha256"):
        LengthPredictor.open(bundle, tier1=False)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (BundleOptions(ids_name="tokens"), "inputs: found scalars, tokens, expected ids, scalars"),
        (BundleOptions(output_name="length"), "outputs: found length, expected log_quantiles"),
        (BundleOptions(levels=5), r"log_quantiles: found tensor\(float\) \[5\], expected .*\[7\]"),
        (BundleOptions(scalars=3), r"scalars: found tensor\(float\) \[3\], expected"),
        (BundleOptions(bias=float("nan")), "first run: log_quantiles: found NaN or infinity"),
        (BundleOptions(descending=True), "first run: found .*expected ordered quantiles"),
        (BundleOptions(buckets=60_000), "first run: found .*out of data bounds"),
    ],
    ids=["input name", "output name", "output shape", "input shape", "NaN", "order", "short table"],
)
def test_a_wrong_tier0_is_refused(tmp_path: Path, options: BundleOptions, says: str) -> None:
    bundle = tiny_bundle(tmp_path / "bundle", options)

    with pytest.raises(ArtifactError, match=f"tier0.onnx: {says}"):
        LengthPredictor.open(bundle, tier1=False)


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", description(), {TIER0: b"\x08\x01garbage"})

    with pytest.raises(ArtifactError, match=r"tier0.onnx: found .*expected an ONNX model"):
        LengthPredictor.open(bundle, tier1=False)


def test_the_tiers_are_not_interchangeable(tmp_path: Path) -> None:
    swapped = files(BOTH) | {TIER0: tier1_graph(BOTH)}
    bundle = write_bundle(tmp_path / "bundle", description(tier1=True), swapped)

    with pytest.raises(ArtifactError, match=r"tier0.onnx: inputs: found attention_mask, input_ids"):
        LengthPredictor.open(bundle, tier1=False)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (TOKENIZER, b"{}", "found not a tokenizer"),
        (TOKENIZER, tokenizer({"[UNK]": 0, "a": 1}), r"found the tokenizer has no \[CLS\]"),
        (TIER1, tier0_graph(BOTH), "inputs: found ids, scalars"),
        (TIER1, tier1_graph(BOTH, rows=len(VOCABULARY) - 1), "first run: found .*out of data bou"),
    ],
    ids=["no tokenizer", "no [CLS]", "another graph", "short vocabulary"],
)
def test_a_wrong_tier1_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    spoiled = files(BOTH) | {name: content}
    bundle = write_bundle(tmp_path / "bundle", description(tier1=True), spoiled)

    assert not LengthPredictor.open(bundle, tier1=False).has_tier1
    with pytest.raises(ArtifactError, match=f"{name}: {says}"):
        LengthPredictor.open(bundle, tier1=True)


@pytest.mark.slow
def test_who_has_no_tier1_does_not_load_the_tokenizer(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle", BOTH)
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from alise_predictor.serving import LengthPredictor\n"
        "LengthPredictor.open(Path(sys.argv[1]), tier1=sys.argv[2] == 'yes')\n"
        "print('tokenizers' in sys.modules)\n"
    )
    printed = [
        subprocess.run(  # noqa: S603
            [sys.executable, "-c", script, str(bundle.directory), wanted],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for wanted in ("no", "yes")
    ]

    assert printed == ["False", "True"]
