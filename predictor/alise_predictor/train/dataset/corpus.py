"""Prompts and answer lengths, ready for training and evaluation."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from alise_predictor.request import PredictionRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One prompt.

    Attributes:
        id: Unique in the corpus: source and place in the source.
        source: Name of the dataset; "own:LABEL" for labelled workloads of own data.
        request: What the predictor sees; ``model`` is empty, because answers name theirs.
        text: System instructions and last user turn as text, for tokenizers.
        cluster: Name of the near-duplicate cluster, the same in every corpus with these texts.
        split: "train", "val" or "test", by cluster (``split.assign``).
        tenant: Who sent it, if recorded.
        timestamp_s: When it was sent, Unix seconds, if recorded.
    """

    id: str
    source: str
    request: PredictionRequest
    text: str
    cluster: str
    split: str
    tenant: str | None = None
    timestamp_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Answer lengths; arrays of shape (n,), ordered by source, run and the run's own order.

    Attributes:
        prompt: Index into the corpus' prompts, int32.
        model: Index into the corpus' model names, int32.
        tokens: Length, int32: cl100k_base tokens, or the engine's own for own data.
        censored: The run's limit was hit or may have been: the length is a lower bound. bool.
        sample: Which of several answers of one model to one prompt, int32.
    """

    prompt: NDArray[np.int32]
    model: NDArray[np.int32]
    tokens: NDArray[np.int32]
    censored: NDArray[np.bool_]
    sample: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.prompt)

    def take(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> "Answers":
        """The answers at some indices, or where a mask is true."""
        return Answers(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """What the loading of one dataset did, for the data card.

    Attributes:
        name: The dataset.
        licence: Its licence.
        permissive: Whether it may train weights that are distributed.
        trains: Whether it may be in a training split.
        upstream: Where it comes from.
        sha256: Hash over the dataset's prompts and answers in this corpus, or "" if absent.
        dropped_runs: Runs left out because their lengths are nearly constant.
        dropped_prompts: Prompts left out: over the cap, or shared with non-permissive data.
        shared_prompts: Prompts whose near-duplicate cluster has members in other datasets too.
        notes: What a reader of the card should know.
    """

    name: str
    licence: str
    permissive: bool
    trains: bool
    upstream: str
    sha256: str = ""
    dropped_runs: tuple[str, ...] = ()
    dropped_prompts: int = 0
    shared_prompts: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Prompts, answers, model names and where they come from.

    Attributes:
        prompts: All prompts, ordered by source.
        answers: All answers.
        models: Model names, indexed by ``answers.model``; a name used by two sources is one
            entry, and (source, model) is a group.
        datasets: Facts on each dataset asked for, present or not.
        tokenizer: Whose tokens answers count (own data counts the engine's).
        seed: The seed of the capped datasets' draw.
    """

    prompts: tuple[Prompt, ...]
    answers: Answers
    models: tuple[str, ...]
    datasets: tuple[DatasetFacts, ...]
    tokenizer: str
    seed: int

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, in order of appearance."""
        return tuple(dict.fromkeys(prompt.source for prompt in self.prompts))

    @cached_property
    def prompt_source(self) -> NDArray[np.int32]:
        """Index into ``sources`` for each prompt."""
        return _indices(self.sources, [prompt.source for prompt in self.prompts])

    @cached_property
    def prompt_cluster(self) -> NDArray[np.int32]:
        """A number for each prompt's cluster, in order of appearance."""
        names = [prompt.cluster for prompt in self.prompts]
        return _indices(tuple(dict.fromkeys(names)), names)

    def groups(self) -> Iterator[tuple[str, str, NDArray[np.int64]]]:
        """Source, model and answer indices of each (source, model) that has answers."""
        keys = self.prompt_source[self.answers.prompt].astype(np.int64) * max(1, len(self.models))
        keys += self.answers.model
        order = np.argsort(keys, kind="stable")
        values, starts = np.unique(keys[order], return_index=True)
        for value, chosen in zip(values.tolist(), np.split(order, starts[1:]), strict=True):
            source, model = divmod(value, len(self.models))
            yield self.sources[source], self.models[model], chosen

    @cached_property
    def sha256(self) -> str:
        """Hash over all prompts (with clusters and splits), answers and model names."""
        digest = hashlib.sha256(json.dumps([self.models, self.tokenizer]).encode())
        for prompt in self.prompts:
            digest.update(prompt_digest(prompt.source, prompt.id, prompt.request))
            digest.update(f"{prompt.cluster} {prompt.split} {prompt.timestamp_s}".encode())
        for field in fields(self.answers):
            array = getattr(self.answers, field.name)
            digest.update(np.ascontiguousarray(array.astype("<i4")).tobytes())
        return digest.hexdigest()


def prompt_digest(source: str, identity: str, request: PredictionRequest) -> bytes:
    """SHA-256 of a prompt's canonical content."""
    values = [getattr(request, field.name) for field in fields(request)]
    plain = [value.hex() if isinstance(value, bytes) else value for value in values]
    return hashlib.sha256(json.dumps([source, identity, plain]).encode()).digest()


def visible_text(request: PredictionRequest) -> str:
    """What a predictor reads of a request: system instructions and the last user turn."""
    parts = [part.decode("utf-8", "replace") for part in (request.system, request.prompt) if part]
    return "\n\n".join(parts)


def _indices(names: tuple[str, ...], values: list[str]) -> NDArray[np.int32]:
    numbers = {name: number for number, name in enumerate(names)}
    return np.array([numbers[value] for value in values], dtype=np.int32)
