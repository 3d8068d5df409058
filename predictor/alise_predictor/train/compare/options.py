"""What a comparison is asked to do."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Flags of ``alise predictor evaluate --all``.

    Attributes:
        data: Directory of the data sets.
        cache: Keeps token counts, embeddings and exported graphs between runs.
        ranks: The rank file of cl100k_base, or ``None`` to look for it (``dataset.tokens``).
        bundle: A trained bundle: its tier 1 is compared and timed.
        checkpoints: Directory with ``shipped.pt`` and ``research.pt``, fine-tuned networks.
        output: Directory for ``predictor.md``, its JSON and pictures; ``None`` writes none.
        card: File for the data card; ``None`` writes none.
        candidates: Names; empty for all (or the quick ones).
        command: What was typed, for the report.
        quick: A first look in about two minutes.
        as_json: Print the results as JSON on standard output.
        seed: Of every draw.
    """

    data: Path
    cache: Path
    ranks: Path | None = None
    bundle: Path | None = None
    checkpoints: Path | None = None
    output: Path | None = None
    card: Path | None = None
    candidates: tuple[str, ...] = ()
    command: str = "alise predictor evaluate --all"
    quick: bool = False
    as_json: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is looked at.

    Attributes:
        train_prompts: Of one data set, at most.
        prompts: Scored of one data set, at most; the same for every candidate.
        models: Of one data set, at most.
        bootstrap_models: Of one data set in the bootstrap, at most.
        resamples: Of the bootstrap.
        smallest: Groups with fewer scored rows are left out.
        calibration: Rows of a group out of distribution that set its offset and are not scored.
        latency_calls: Timed calls of the cheapest row.
    """

    train_prompts: int = 4_000
    prompts: int = 600
    models: int = 12
    bootstrap_models: int = 3
    resamples: int = 200
    smallest: int = 40
    calibration: int = 50
    latency_calls: int = 400


QUICK_LIMITS = Limits(
    train_prompts=800, prompts=200, models=4, bootstrap_models=1, resamples=50, latency_calls=60
)
