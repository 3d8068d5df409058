"""Puts a corpus together: read, cap, cluster, filter, count, drop degenerate runs, split."""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alise_predictor.train.dataset.corpus import (
    Answers,
    Corpus,
    DatasetFacts,
    Prompt,
    prompt_digest,
    visible_text,
)
from alise_predictor.train.dataset.dedup import find_clusters, name_clusters
from alise_predictor.train.dataset.errors import DatasetError
from alise_predictor.train.dataset.raw import AnswerBlock, RawPrompt, RawSource
from alise_predictor.train.dataset.sources.own import own_files
from alise_predictor.train.dataset.spec import DATASETS, DatasetSpec
from alise_predictor.train.dataset.split import SPLITS, TEST, assign
from alise_predictor.train.dataset.tokens import TOKENIZER, TokenCounter

MIN_RUN_ANSWERS = 30
"""Runs with fewer answers are not judged."""

MIN_DISTINCT = 10
MAX_SAME_SHARE = 0.4
"""A run with fewer than 10 distinct lengths, or with more than 40 % of its answers of one length,
tells nothing about prompts (it was cut off, refused or failed) and is dropped."""


@dataclass(slots=True)
class _Part:
    """One dataset on its way into the corpus."""

    spec: DatasetSpec
    raw: RawSource
    texts: list[str]
    notes: list[str] = field(default_factory=list)
    clusters: list[str] = field(default_factory=list)
    kept: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    dropped_runs: list[str] = field(default_factory=list)
    dropped_prompts: int = 0
    shared: int = 0


def load_corpus(
    data_dir: Path,
    *,
    permissive_only: bool,
    ranks: Path | None = None,
    seed: int = 0,
    cache_dir: Path | None = None,
    datasets: Sequence[DatasetSpec] = DATASETS,
) -> Corpus:
    """All datasets of a directory as one corpus; the same input gives the same corpus.

    Near-duplicates are looked for in all datasets, also those which are then left out, so that a
    prompt has the same cluster and split whether or not only permissive data is wanted.

    Args:
        data_dir: Holds a folder for each dataset, and own data as ``*.jsonl`` or
            ``*.jsonl.zst``. What is missing is noted in the corpus' facts.
        permissive_only: Leave out datasets whose licence does not allow to distribute weights
            trained on them, and prompts that a permissive dataset took from those.
        ranks: The rank file of cl100k_base; see ``tokens.TokenCounter``.
        seed: Draws the prompts of capped datasets.
        cache_dir: Keeps token counts between runs.
        datasets: Which datasets to look for.

    Raises:
        MalformedDataError: A file does not have its documented shape.
        RanksUnavailableError: Answers have to be counted and there is no rank file.
        DatasetError: Nothing is left.
    """
    parts = [_read(spec, data_dir, seed) for spec in datasets]
    _cluster(parts)
    wanted = [part for part in parts if part.spec.permissive or not permissive_only]
    if permissive_only:
        _drop_shared(parts)
    counter = TokenCounter(ranks, cache_dir)
    for part in wanted:
        _count(part, counter)
        _check_runs(part)
    no_train = _evaluation_clusters(wanted)
    return _assemble(wanted, no_train, seed)


def _read(spec: DatasetSpec, data_dir: Path, seed: int) -> _Part:
    folder = data_dir / spec.folder
    present = bool(own_files(folder)) if spec.folder == "." else folder.is_dir()
    if not present:
        what = "no *.jsonl file" if spec.folder == "." else f"no folder {spec.folder!r}"
        return _Part(spec, RawSource(), [], notes=[f"{what} in the data directory: skipped"])
    raw = spec.loader(folder)
    part = _Part(spec, raw, [], notes=list(raw.notes))
    if spec.max_prompts is not None and len(raw.prompts) > spec.max_prompts:
        part.dropped_prompts = len(raw.prompts) - spec.max_prompts
        part.raw = _select(raw, _draw(raw.prompts, spec, seed))
        part.notes.append(f"{spec.max_prompts} of {len(raw.prompts)} prompts drawn")
    part.texts = [visible_text(prompt.request) for prompt in part.raw.prompts]
    part.kept = np.ones(len(part.texts), dtype=np.bool_)
    return part


def _draw(prompts: Sequence[RawPrompt], spec: DatasetSpec, seed: int) -> NDArray[np.bool_]:
    # By hash and not by a generator: the draw does not depend on a library's version.
    ranked = sorted(
        range(len(prompts)),
        key=lambda i: hashlib.sha256(f"{seed}/{spec.name}/{prompts[i].key}".encode()).digest(),
    )
    kept = np.zeros(len(prompts), dtype=np.bool_)
    kept[ranked[: spec.max_prompts]] = True
    return kept


def _select(raw: RawSource, kept: NDArray[np.bool_]) -> RawSource:
    """The source with only some of its prompts, and their answers."""
    number = np.cumsum(kept, dtype=np.int32) - np.int32(1)
    blocks = []
    for block in raw.blocks:
        chosen = np.flatnonzero(kept[block.prompts])
        if len(chosen):
            blocks.append(
                replace(
                    block,
                    prompts=number[block.prompts[chosen]].astype(np.int32),
                    samples=block.samples[chosen],
                    censored=block.censored[chosen],
                    tokens=None if block.tokens is None else block.tokens[chosen],
                    texts=None if block.texts is None else [block.texts[i] for i in chosen],
                )
            )
    prompts = [prompt for prompt, keep in zip(raw.prompts, kept, strict=True) if keep]
    return RawSource(prompts=prompts, blocks=blocks, notes=raw.notes)


def _cluster(parts: list[_Part]) -> None:
    texts = [text for part in parts for text in part.texts]
    names = name_clusters(texts, find_clusters(texts))
    start = 0
    for part in parts:
        part.clusters = names[start : start + len(part.texts)]
        start += len(part.texts)
    holders = Counter(name for part in parts for name in set(part.clusters))
    for part in parts:
        part.shared = sum(holders[name] > 1 for name in part.clusters)


def _drop_shared(parts: list[_Part]) -> None:
    tainted = {name for part in parts if not part.spec.permissive for name in part.clusters}
    for part in parts:
        if not part.spec.drop_shared:
            continue
        kept = np.array([name not in tainted for name in part.clusters], dtype=np.bool_)
        dropped = int((~kept).sum())
        part.raw = _select(part.raw, kept)
        part.texts = [text for text, keep in zip(part.texts, kept, strict=True) if keep]
        part.clusters = [name for name, keep in zip(part.clusters, kept, strict=True) if keep]
        part.dropped_prompts += dropped
        part.notes.append(f"{dropped} prompts left out which non-permissive datasets hold too")


def _count(part: _Part, counter: TokenCounter) -> None:
    part.raw.blocks = [
        block
        if block.texts is None
        else replace(block, tokens=np.array(counter.count(block.texts), dtype=np.int32), texts=None)
        for block in part.raw.blocks
    ]


def _check_runs(part: _Part) -> None:
    if not part.spec.check_runs:
        return
    kept = []
    for block in part.raw.blocks:
        reason = why_degenerate(_tokens(block))
        if reason is None:
            kept.append(block)
        else:
            part.dropped_runs.append(f"{block.model} ({reason})")
    part.raw.blocks = kept


def why_degenerate(tokens: NDArray[np.int32]) -> str | None:
    """Why a run's lengths tell nothing about prompts; None if they may."""
    if len(tokens) < MIN_RUN_ANSWERS:
        return None
    values, counts = np.unique(tokens, return_counts=True)
    if len(values) < MIN_DISTINCT:
        return f"{len(values)} distinct lengths"
    share = float(counts.max()) / len(tokens)
    if share > MAX_SAME_SHARE:
        return f"{share:.0%} of answers have {int(values[counts.argmax()])} tokens"
    return None


def _evaluation_clusters(parts: list[_Part]) -> set[str]:
    return {name for part in parts if not part.spec.trains for name in part.clusters}


def _assemble(parts: list[_Part], no_train: set[str], seed: int) -> Corpus:
    prompts: list[Prompt] = []
    models: dict[str, int] = {}
    blocks: list[Answers] = []
    facts: list[DatasetFacts] = []
    for part in parts:
        part_prompts, part_answers = _finish(part, len(prompts), models, no_train)
        prompts += part_prompts
        blocks += part_answers
        facts.append(_facts(part, part_prompts, part_answers, list(models)))
    if not blocks:
        notes = "; ".join(f"{fact.name}: {', '.join(fact.notes)}" for fact in facts)
        raise DatasetError(f"no answers in the data directory ({notes}); check the directory")
    return Corpus(
        prompts=tuple(prompts),
        answers=_concatenate(blocks),
        models=tuple(models),
        datasets=tuple(facts),
        tokenizer=TOKENIZER,
        seed=seed,
    )


def _finish(
    part: _Part, start: int, models: dict[str, int], no_train: set[str]
) -> tuple[list[Prompt], list[Answers]]:
    prompts = [
        Prompt(
            id=f"{part.spec.name}/{raw.key}",
            source=raw.source or part.spec.name,
            request=raw.request,
            text=text,
            cluster=cluster,
            split=SPLITS[TEST] if cluster in no_train else assign(cluster),
            tenant=raw.tenant,
            timestamp_s=raw.timestamp_s,
        )
        for raw, text, cluster in zip(part.raw.prompts, part.texts, part.clusters, strict=True)
    ]
    answers = [
        Answers(
            prompt=(block.prompts + start).astype(np.int32),
            model=np.full(
                len(block.prompts), models.setdefault(block.model, len(models)), dtype=np.int32
            ),
            tokens=_tokens(block),
            censored=block.censored,
            sample=block.samples,
        )
        for block in part.raw.blocks
    ]
    return prompts, answers


def _facts(
    part: _Part, prompts: list[Prompt], answers: list[Answers], models: list[str]
) -> DatasetFacts:
    digest = hashlib.sha256()
    for prompt in prompts:
        digest.update(prompt_digest(prompt.source, prompt.id, prompt.request))
    first = min((int(block.prompt.min()) for block in answers), default=0)
    for block in answers:
        digest.update(models[int(block.model[0])].encode())
        for array in (block.prompt - first, block.tokens, block.censored, block.sample):
            digest.update(np.ascontiguousarray(array.astype("<i4")).tobytes())
    return DatasetFacts(
        name=part.spec.name,
        licence=part.spec.licence,
        permissive=part.spec.permissive,
        trains=part.spec.trains,
        upstream=part.spec.upstream,
        sha256=digest.hexdigest() if prompts else "",
        dropped_runs=tuple(part.dropped_runs),
        dropped_prompts=part.dropped_prompts,
        shared_prompts=part.shared,
        notes=tuple(part.notes),
    )


def _concatenate(blocks: list[Answers]) -> Answers:
    return Answers(
        prompt=np.concatenate([block.prompt for block in blocks]),
        model=np.concatenate([block.model for block in blocks]),
        tokens=np.concatenate([block.tokens for block in blocks]),
        censored=np.concatenate([block.censored for block in blocks]),
        sample=np.concatenate([block.sample for block in blocks]),
    )


def _tokens(block: AnswerBlock) -> NDArray[np.int32]:
    if block.tokens is None:
        raise DatasetError(f"the answers of {block.model} were not counted; count them first")
    return block.tokens
