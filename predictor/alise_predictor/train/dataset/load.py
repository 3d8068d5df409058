"""Puts a corpus together from the datasets of a directory."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alise_predictor.train.dataset.corpus import (
    Answers,
    Corpus,
    DatasetFacts,
    Prompt,
    prompt_digest,
)
from alise_predictor.train.dataset.errors import DatasetError
from alise_predictor.train.dataset.parts import (
    Part,
    cluster_parts,
    count_tokens,
    drop_degenerate_runs,
    drop_shared,
    lengths,
    read_part,
)
from alise_predictor.train.dataset.spec import DATASETS, DatasetSpec
from alise_predictor.train.dataset.split import SPLITS, TEST, assign
from alise_predictor.train.dataset.tokens import TokenCounter


def load_corpus(
    data_dir: Path,
    *,
    permissive_only: bool,
    ranks: Path | None = None,
    seed: int = 0,
    cache_dir: Path | None = None,
    datasets: Sequence[DatasetSpec] = DATASETS,
) -> Corpus:
    """All datasets of a directory as one corpus, answers counted with cl100k_base.

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
    counter = TokenCounter(ranks, cache_dir)
    return build_corpus(
        data_dir, permissive_only=permissive_only, counter=counter, seed=seed, datasets=datasets
    )


def build_corpus(
    data_dir: Path,
    *,
    permissive_only: bool,
    counter: TokenCounter,
    seed: int,
    datasets: Sequence[DatasetSpec],
) -> Corpus:
    """As ``load_corpus``, with any token counter; the same input gives the same corpus.

    Near-duplicates are looked for in all datasets, also those which are then left out, so that a
    prompt has the same cluster and split whether or not only permissive data is wanted.
    """
    parts = [read_part(spec, data_dir, seed) for spec in datasets]
    cluster_parts(parts)
    wanted = [part for part in parts if part.spec.permissive or not permissive_only]
    if permissive_only:
        drop_shared(parts)
    for part in wanted:
        count_tokens(part, counter)
        drop_degenerate_runs(part)
    no_train = _evaluation_clusters(wanted)
    return _assemble(wanted, no_train, counter.tokenizer.name, seed)


def _evaluation_clusters(parts: list[Part]) -> set[str]:
    return {name for part in parts if not part.spec.trains for name in part.clusters}


def _assemble(parts: list[Part], no_train: set[str], tokenizer: str, seed: int) -> Corpus:
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
        tokenizer=tokenizer,
        seed=seed,
    )


def _finish(
    part: Part, start: int, models: dict[str, int], no_train: set[str]
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
            tokens=lengths(block),
            censored=block.censored,
            sample=block.samples,
        )
        for block in part.raw.blocks
    ]
    return prompts, answers


def _facts(
    part: Part, prompts: list[Prompt], answers: list[Answers], models: list[str]
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
