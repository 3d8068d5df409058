"""What a source yields before token counting, clustering and splitting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from alise_predictor.request import PredictionRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class RawPrompt:
    """One prompt of a source.

    Attributes:
        key: Identifies the prompt inside its source.
        request: The request, with ``model`` empty.
        source: Overrides the source's name (own data with labelled workloads).
        tenant: Who sent it, if recorded.
        timestamp_s: When it was sent, Unix seconds, if recorded.
    """

    key: str
    request: PredictionRequest
    source: str | None = None
    tenant: str | None = None
    timestamp_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerBlock:
    """The answers of one run: one model, one set of sampling settings.

    Attributes:
        model: Name of the model, or of model and sampling settings.
        prompts: Index of the prompt in the source's list, int32, shape (n,).
        tokens: Answer lengths, int32, shape (n,); None when ``texts`` has to be counted.
        texts: The answers, n of them; None when ``tokens`` is given.
        samples: Which of several answers to the same prompt, int32, shape (n,).
        censored: Answers which hit the run's limit, so that the length is a lower bound; bool,
            shape (n,).
        censored_from: Answers of so many tokens or more are censored too; None if there is no
            such limit, or none is known.
    """

    model: str
    prompts: NDArray[np.int32]
    samples: NDArray[np.int32]
    censored: NDArray[np.bool_]
    tokens: NDArray[np.int32] | None = None
    texts: Sequence[str] | None = None
    censored_from: int | None = None


@dataclass(slots=True)
class RawSource:
    """All prompts and answers of one source, in the order of its files."""

    prompts: list[RawPrompt] = field(default_factory=list)
    blocks: list[AnswerBlock] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


CAP_SHARE = 0.75
"""Answers from this share of a run's limit on are taken for censored, where the limit counts
tokens of another tokenizer than lengths do. Llama runs which stop at 400 of their own tokens end
at 300 to 375 of cl100k_base's; in the OpenAssistant reports which keep the end marker, the rule
finds 85-100 % of the answers without one, and 75-91 % of those it finds have none."""


class TextSource:
    """Collects prompts and answer texts row by row and groups the answers by model.

    Rows with the same request become one prompt with several samples.
    """

    __slots__ = ("_answers", "_index", "_prompts")

    def __init__(self) -> None:
        self._prompts: list[RawPrompt] = []
        self._index: dict[PredictionRequest, int] = {}
        self._answers: dict[str, list[tuple[int, str]]] = {}

    def prompt(self, key: str, request: PredictionRequest) -> int:
        """The index of a prompt, which is added if it is new."""
        found = self._index.get(request)
        if found is None:
            found = self._index[request] = len(self._prompts)
            self._prompts.append(RawPrompt(key=key, request=request))
        return found

    def answer(self, prompt: int, model: str, text: str) -> None:
        """Adds one answer."""
        self._answers.setdefault(model, []).append((prompt, text))

    def finish(self, censored_from: Mapping[str, int] | None = None) -> RawSource:
        """Everything collected; one block a model.

        Args:
            censored_from: For models with a known limit, from how many tokens on an answer is
                censored.
        """
        blocks = []
        for model, rows in self._answers.items():
            prompts = np.array([prompt for prompt, _ in rows], dtype=np.int32)
            blocks.append(
                AnswerBlock(
                    model=model,
                    prompts=prompts,
                    samples=count_samples(prompts),
                    censored=np.zeros(len(rows), dtype=np.bool_),
                    texts=[text for _, text in rows],
                    censored_from=(censored_from or {}).get(model),
                )
            )
        return RawSource(prompts=self._prompts, blocks=blocks)


def count_samples(prompts: NDArray[np.int32]) -> NDArray[np.int32]:
    """For each answer, how many answers of its prompt stand before it; int32, shape (n,)."""
    order = np.argsort(prompts, kind="stable")
    ordered = prompts[order]
    first = np.searchsorted(ordered, ordered, side="left")
    samples = np.empty(len(prompts), dtype=np.int32)
    samples[order] = np.arange(len(prompts)) - first
    return samples
