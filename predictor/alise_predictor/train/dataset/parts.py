"""One dataset on its way into a corpus: read, capped, clustered, counted, cleaned."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alise_predictor.train.dataset.corpus import visible_text
from alise_predictor.train.dataset.dedup import find_clusters, name_clusters
from alise_predictor.train.dataset.errors import DatasetError
from alise_predictor.train.dataset.raw import AnswerBlock, RawPrompt, RawSource
from alise_predictor.train.dataset.source_own import own_files
from alise_predictor.train.dataset.spec import DatasetSpec
from alise_predictor.train.dataset.tokens import TokenCounter

MIN_RUN_ANSWERS = 30
"""Runs with fewer answers are not judged."""

MIN_DISTINCT = 10
MAX_SAME_SHARE = 0.4
"""A run with fewer than 10 distinct lengths, or with more than 40 % of its answers of one length,
tells nothing about prompts (it was cut off, refused or failed) and is dropped."""


@dataclass(slots=True)
class Part:
    """One dataset on its way into a corpus.

    Attributes:
        spec: Which dataset.
        raw: What is left of its prompts and answers.
        texts: The text of each prompt.
        notes: For the data card.
        clusters: The name of each prompt's cluster.
        dropped_runs: Runs left out, with the reason.
        dropped_prompts: How many prompts were left out.
        shared: Prompts whose cluster has members in other datasets.
    """

    spec: DatasetSpec
    raw: RawSource
    texts: list[str]
    notes: list[str] = field(default_factory=list)
    clusters: list[str] = field(default_factory=list)
    dropped_runs: list[str] = field(default_factory=list)
    dropped_prompts: int = 0
    shared: int = 0


def read_part(spec: DatasetSpec, data_dir: Path, seed: int) -> Part:
    """Reads a dataset, if it is there, and cuts it to its number of prompts."""
    folder = data_dir / spec.folder
    present = bool(own_files(folder)) if spec.folder == "." else folder.is_dir()
    if not present:
        what = "no *.jsonl file" if spec.folder == "." else f"no folder {spec.folder!r}"
        return Part(spec, RawSource(), [], notes=[f"{what} in the data directory: skipped"])
    raw = spec.loader(folder)
    raw.blocks = [block for block in raw.blocks if len(block.prompts)]
    part = Part(spec, raw, [], notes=list(raw.notes))
    if spec.max_prompts is not None and len(raw.prompts) > spec.max_prompts:
        part.dropped_prompts = len(raw.prompts) - spec.max_prompts
        part.raw = _select(raw, _draw(raw.prompts, spec, seed))
        part.notes.append(f"{spec.max_prompts} of {len(raw.prompts)} prompts drawn")
    part.texts = [visible_text(prompt.request) for prompt in part.raw.prompts]
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
                    texts=None
                    if block.texts is None
                    else [block.texts[i] for i in chosen.tolist()],
                )
            )
    prompts = [prompt for prompt, keep in zip(raw.prompts, kept, strict=True) if keep]
    return RawSource(prompts=prompts, blocks=blocks, notes=raw.notes)


def cluster_parts(parts: Sequence[Part]) -> None:
    """Names the near-duplicate clusters of all parts' prompts together."""
    texts = [text for part in parts for text in part.texts]
    names = name_clusters(texts, find_clusters(texts))
    start = 0
    for part in parts:
        part.clusters = names[start : start + len(part.texts)]
        start += len(part.texts)
    holders = Counter(name for part in parts for name in set(part.clusters))
    for part in parts:
        part.shared = sum(holders[name] > 1 for name in part.clusters)


def drop_shared(parts: Sequence[Part]) -> None:
    """Takes from derived permissive datasets the prompts which non-permissive ones hold too."""
    others = [part for part in parts if not part.spec.permissive]
    tainted = {name for part in others for name in part.clusters}
    absent = [part.spec.name for part in others if not part.texts and part.spec.folder != "."]
    for part in parts:
        if not part.spec.drop_shared or not part.texts:
            continue
        kept = np.array([name not in tainted for name in part.clusters], dtype=np.bool_)
        dropped = int((~kept).sum())
        part.raw = _select(part.raw, kept)
        part.texts = [text for text, keep in zip(part.texts, kept, strict=True) if keep]
        part.clusters = [name for name, keep in zip(part.clusters, kept, strict=True) if keep]
        part.dropped_prompts += dropped
        part.notes.append(f"{dropped} prompts left out which non-permissive datasets hold too")
        if absent:
            part.notes.append(f"not compared with {', '.join(absent)}, which are absent")


def count_tokens(part: Part, counter: TokenCounter) -> None:
    """Replaces answer texts by their lengths, and marks those at a known limit."""
    part.raw.blocks = [_measure(block, counter) for block in part.raw.blocks]


def _measure(block: AnswerBlock, counter: TokenCounter) -> AnswerBlock:
    if block.texts is None:
        return block
    tokens = np.array(counter.count(block.texts), dtype=np.int32)
    censored = block.censored
    if block.censored_from is not None:
        censored = censored | (tokens >= block.censored_from)
    return replace(block, tokens=tokens, texts=None, censored=censored)


def drop_degenerate_runs(part: Part) -> None:
    """Drops runs whose lengths are nearly constant."""
    if not part.spec.check_runs:
        return
    kept = []
    for block in part.raw.blocks:
        reason = why_degenerate(lengths(block))
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


def lengths(block: AnswerBlock) -> NDArray[np.int32]:
    """The lengths of a block that has been counted."""
    if block.tokens is None:
        raise DatasetError(f"the answers of {block.model} were not counted; count them first")
    return block.tokens
