"""What a bundle says about itself: its files, what it was trained on and what it is fit for."""

import json
from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from math import log1p
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    model_validator,
)

from alise_core.prediction import LEVELS
from alise_predictor.artifact.errors import RETRAIN, ArtifactError
from alise_predictor.features import schema_hash

FORMAT_VERSION = 1
"""Raised when an older reader would misread a newer bundle."""

MANIFEST = "manifest.json"
TIER0 = "tier0.onnx"
TIER1 = "tier1.onnx"
TOKENIZER = "tokenizer.json"

MOST_FILE_BYTES = 256 << 20
"""Of one file: a tier 1 is about 30 MB; whatever is much larger is not one."""

_MOST_TOKENS = 10_000_000
"""Beyond the longest context window that is served anywhere."""
_MOST_PIECES = 512
"""Positions of the encoders that a tier 1 is made from (BERT's maximum)."""
_ROUNDING = 1e-6
_LARGEST_OFFSET = 5.0
"""A model that answers 150 times as long as another is a mistake in the manifest."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
"""A bare name: nothing in a manifest may point out of the bundle's directory."""
Offset = Annotated[float, Field(ge=-_LARGEST_OFFSET, le=_LARGEST_OFFSET)]


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


class FileFacts(_Frozen):
    """One file of the bundle.

    Attributes:
        sha256: Lower-case hexadecimal digest.
        bytes: Size.
    """

    sha256: Sha256
    bytes: Annotated[int, Field(ge=1, le=MOST_FILE_BYTES)]


class Tier1Facts(_Frozen):
    """How tier 1 is fed and how much it counts.

    Attributes:
        head_pieces: Word pieces taken from the prompt's beginning.
        tail_pieces: Word pieces taken from its end, where it is longer than both together.
        weight: Share of tier 1 in the final prediction; the rest is tier 0's.
        embedding_size: Length of the encoder's pooled output.
    """

    head_pieces: Annotated[int, Field(ge=1, le=_MOST_PIECES)]
    tail_pieces: Annotated[int, Field(ge=0, le=_MOST_PIECES)]
    weight: Annotated[float, Field(ge=0, le=1)]
    embedding_size: Annotated[int, Field(ge=1, le=4096)]


class Dataset(_Frozen):
    """One source of training data.

    Attributes:
        name: What it is called where it is published.
        licence: Of the data.
        permissive: Whether that licence lets anyone use what was trained on it.
        prompts: Distinct prompts used.
        answers: Answers used.
        sha256: Of the data as used.
    """

    name: str
    licence: str
    permissive: bool
    prompts: Annotated[int, Field(ge=0)]
    answers: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Training(_Frozen):
    """How the bundle came about, so that it can come about again.

    Attributes:
        datasets: What was learned from.
        split_salt: Decides which prompts were held out.
        command: What was run.
        seed: Of every random choice.
    """

    datasets: tuple[Dataset, ...]
    split_salt: str
    command: str
    seed: int


class BaseModelFacts(_Frozen):
    """The pretrained encoder that tier 1 was made from.

    Attributes:
        name: What it is called where it is published.
        licence: Of its weights.
        source: Where it is published.
    """

    name: str
    licence: str
    source: str


class Prior(_Frozen):
    """Distribution of all lengths in training: what to say when nothing is known.

    Attributes:
        log_quantiles: ``log(1 + tokens)`` at each level.
    """

    log_quantiles: tuple[float, ...]


class Description(_Frozen):
    """Everything about a bundle but its files.

    Attributes:
        format_version: ``FORMAT_VERSION`` of the writer.
        name: Of the predictor.
        version: Of this training of it.
        created: Day of training.
        feature_schema: ``features.schema_hash()`` at training.
        levels: Probabilities at which the graphs predict.
        lowest_tokens: Shortest answer in training; nothing below is predicted.
        highest_tokens: Longest answer in training; nothing above is predicted.
        tier1: ``None`` for a bundle of tier 0 alone.
        token_unit: Tokenizer in whose tokens lengths were counted.
        model_offsets: What known models' verbosity adds to ``log(1 + tokens)``.
        training: How it came about.
        metrics: Data set to what was measured on it; free form.
        licence: Of the bundle.
        base_model: ``None`` where everything was trained from nothing.
        prior: Prediction without a request.
    """

    format_version: int
    name: Annotated[str, Field(min_length=1, max_length=100)]
    version: Annotated[str, Field(min_length=1, max_length=100)]
    created: date
    feature_schema: Sha256
    levels: tuple[float, ...]
    lowest_tokens: Annotated[int, Field(ge=0, le=_MOST_TOKENS)]
    highest_tokens: Annotated[int, Field(ge=1, le=_MOST_TOKENS)]
    tier1: Tier1Facts | None
    token_unit: Annotated[str, Field(min_length=1)]
    model_offsets: Mapping[str, Offset]
    training: Training
    metrics: Mapping[str, Mapping[str, JsonValue]]
    licence: Annotated[str, Field(min_length=1)]
    base_model: BaseModelFacts | None
    prior: Prior

    @model_validator(mode="after")
    def _ranges_make_sense(self) -> Self:
        if self.lowest_tokens >= self.highest_tokens:
            raise ValueError("lowest_tokens must be below highest_tokens")
        quantiles = self.prior.log_quantiles
        if len(quantiles) != len(self.levels):
            raise ValueError("prior.log_quantiles must have one value for each of levels")
        if any(low > high for low, high in pairwise(quantiles)):
            raise ValueError("prior.log_quantiles must not decrease")
        lowest, highest = self.log_range
        if quantiles and not lowest - _ROUNDING <= quantiles[0] <= quantiles[-1] <= highest + (
            _ROUNDING
        ):
            raise ValueError("prior.log_quantiles must lie within lowest_tokens..highest_tokens")
        return self

    @property
    def log_range(self) -> tuple[float, float]:
        """``log(1 + tokens)`` of the shortest and of the longest prediction."""
        return log1p(self.lowest_tokens), log1p(self.highest_tokens)


class Manifest(Description):
    """The content of ``manifest.json``.

    Attributes:
        files: Name to what the file must be; the manifest itself is not among them.
    """

    files: Mapping[FileName, FileFacts]

    @model_validator(mode="after")
    def _has_the_files_it_needs(self) -> Self:
        needed = {TIER0} if self.tier1 is None else {TIER0, TIER1, TOKENIZER}
        missing = sorted(needed - set(self.files))
        if missing:
            raise ValueError(f"files must list {', '.join(missing)}")
        if MANIFEST in self.files:
            raise ValueError(f"files must not list {MANIFEST} itself")
        return self


def parse_manifest(raw: bytes, where: str) -> Manifest:
    """Read a manifest and hold it against this version of alise.

    Args:
        raw: The file's content.
        where: Its path, for error messages.

    Raises:
        ArtifactError: It is no manifest, or one for another version.
    """
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            where, found=f"{len(raw)} bytes that are not JSON", expected="JSON", remedy=RETRAIN
        ) from error
    _check_format(document, where)
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        raise _first_fault(error, where) from error
    _check_features(manifest, where)
    return manifest


def serialise(manifest: Manifest) -> bytes:
    """The manifest as a file; equal manifests give equal bytes."""
    document = manifest.model_dump(mode="json")
    text = json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8") + b"\n"


def _check_format(document: object, where: str) -> None:
    """Before anything else: another format's fields mean something else."""
    found = document.get("format_version") if isinstance(document, dict) else None
    if found != FORMAT_VERSION or isinstance(found, bool):
        raise ArtifactError(
            f"{where}: format_version",
            found=repr(found),
            expected=str(FORMAT_VERSION),
            remedy=RETRAIN,
        )


def _check_features(manifest: Manifest, where: str) -> None:
    if manifest.levels != LEVELS:
        raise ArtifactError(
            f"{where}: levels", found=str(manifest.levels), expected=str(LEVELS), remedy=RETRAIN
        )
    expected = schema_hash()
    if manifest.feature_schema != expected:
        raise ArtifactError(
            f"{where}: feature_schema",
            found=manifest.feature_schema,
            expected=expected,
            remedy=RETRAIN,
        )


def _first_fault(error: ValidationError, where: str) -> ArtifactError:
    fault = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in fault["loc"])
    # Without a field it is a rule about several of them, which the message names.
    found = repr(fault["input"]) if field else "another manifest"
    return ArtifactError(
        f"{where}: {field}" if field else where,
        found=found,
        expected=fault["msg"],
        remedy=RETRAIN,
    )
