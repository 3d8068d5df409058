"""A trained predictor on disk: a directory of files and the manifest that vouches for them."""

from alise_predictor.artifact.bundle import (
    Bundle,
    load_bundle,
    shipped_bundle,
    write_bundle,
)
from alise_predictor.artifact.errors import ArtifactError
from alise_predictor.artifact.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    TIER0,
    TIER1,
    TOKENIZER,
    BaseModelFacts,
    Dataset,
    Description,
    FileFacts,
    Manifest,
    Prior,
    Tier1Facts,
    Training,
)

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST",
    "TIER0",
    "TIER1",
    "TOKENIZER",
    "ArtifactError",
    "BaseModelFacts",
    "Bundle",
    "Dataset",
    "Description",
    "FileFacts",
    "Manifest",
    "Prior",
    "Tier1Facts",
    "Training",
    "load_bundle",
    "shipped_bundle",
    "write_bundle",
]
