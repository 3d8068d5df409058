"""A training's state as a bundle that serves."""

from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from alise_predictor.artifact import TIER0, TIER1, TOKENIZER, Bundle, Description, write_bundle
from alise_predictor.features import SCALARS
from alise_predictor.train.encoder import packaged_weights
from alise_predictor.train.network import LengthRange
from alise_predictor.train.run_state import RunDirectory
from alise_predictor.train.tier0_graph import tier0_graph
from alise_predictor.train.tier1_graph import export_int8


def export_bundle(
    run: RunDirectory, description: Description, directory: Path, *, created: date
) -> Bundle:
    """Make the graphs and put them into a bundle.

    Args:
        run: A training.
        description: What the bundle says about itself; its ``tier1`` decides about tier 1.
        directory: Where the bundle goes; a bundle that lies there is replaced.
        created: Date in the manifest.

    Raises:
        ConfigError: The training is not finished.
        ArtifactError: The result would not load.
    """
    span = LengthRange(*description.log_range)
    files = {TIER0: tier0_graph(run.load_tier0(span)).SerializeToString()}
    if description.tier1 is not None:
        weights = packaged_weights()
        with TemporaryDirectory() as scratch:
            file = Path(scratch, TIER1)
            export_int8(run.load_tier1(weights, span), len(SCALARS), file)
            files[TIER1] = file.read_bytes()
        files[TOKENIZER] = (weights / "tokenizer.json").read_bytes()
    return write_bundle(directory, description.model_copy(update={"created": created}), files)
