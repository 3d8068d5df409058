"""Named workloads: real prompts with the lengths of real answers, and what they are made of.

``sample`` comes with the workbench; the others need a data directory, which whoever runs the
benchmark names. ``mixed`` without one is the sample, and ``short-long`` is made of ``mixed``.
"""

import csv
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from alise_bench.demo.workload import read_sample
from alise_bench.workloads.arrivals import Arrival
from alise_bench.workloads.corpora import (
    TRAINED,
    Choice,
    DataDirectory,
    SourceFacts,
    WorkloadPrompt,
)
from alise_bench.workloads.data_files import read_file
from alise_bench.workloads.traces import BYTES_PER_TOKEN, TraceRow, estimate_tokens
from alise_core.errors import ConfigError

LENGTHS_ONLY_ROWS = 2_000
"""Rows drawn from the 30,000 pairs: enough for a run, and 20 MB of filler instead of 280."""

_FILLER = "the sun was low and the air was dry but the man sat and had his tea for one hour. "
"""Words of three letters: about four bytes and one token each, so that length is all it says."""

_SAMPLE_LICENCE = "Apache-2.0"
_PERCENTILES = (50, 95, 99)
_ESTIMATED = f"estimated at {BYTES_PER_TOKEN} bytes a token"


class WorkloadName(StrEnum):
    """Which workloads there are."""

    ALPACA = "alpaca"
    CHAT = "chat"
    CODE = "code"
    EXAM = "exam"
    MIXED = "mixed"
    SHAREGPT = "sharegpt"
    SHORT_LONG = "short-long"
    SAMPLE = "sample"


SHORT_TOKENS, LONG_TOKENS = 120, 500
"""Of ``short-long``: answers are at most, or at least, so long."""
_SHORTS_PER_LONG = 4
_CHOICES: Mapping[WorkloadName, tuple[Choice, ...]] = {
    WorkloadName.ALPACA: (Choice("alpaca_dv3", "text-davinci-003"),),
    WorkloadName.CHAT: (
        Choice("alpaca_eval", "llama-2-70b-chat-hf"),
        Choice("flask", "llama2_chat_70b"),
    ),
    WorkloadName.CODE: (
        Choice("codealpaca", "text-davinci-003"),
        Choice("gpteacher_code", "gpt-4"),
    ),
    WorkloadName.EXAM: (
        Choice("mmlu_pro", "Meta-Llama-3_1-70B-Instruct"),
        Choice("gsm8k", "gpt3-175b_finetuning"),
    ),
}
"""Whose answers: one model a data set, because a served model is one. Chat takes Llama 2 70B Chat,
which answered two sets and whose mean length is nearest to that of ShareGPT's answers."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Prompts and what they are.

    Attributes:
        name: Which workload.
        rows: At least one.
        facts: For the conditions of a result: sources, licences, lengths, share of prompts from
            data sets that the shipped predictor was trained on, notes.
    """

    name: WorkloadName
    rows: tuple[WorkloadPrompt, ...]
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantShare:
    """A tenant of a composed trace.

    Attributes:
        name: Its name.
        share: Its part of the requests, in relation to the other tenants' parts; more than 0.
        service_tier: What its requests ask for.
    """

    name: str
    share: float
    service_tier: str | None = None


def load_workload(
    name: WorkloadName, data_dir: Path | None, seed: int, *, ranks: Path | None = None
) -> Workload:
    """A workload by name.

    Args:
        name: Which.
        data_dir: Folder with the data sets; ``None`` leaves the bundled sample only.
        seed: Of what is drawn: equal shares (``mixed``), pairs of lengths (``sharegpt``), the
            shorter part (``short-long``).
        ranks: Rank file of cl100k_base, see ``DataDirectory``.

    Raises:
        ConfigError: The workload needs a data directory, or a data set or package is missing.
    """
    if name is WorkloadName.SAMPLE:
        return _sample([])
    if name is WorkloadName.SHORT_LONG:
        return _short_long(load_workload(WorkloadName.MIXED, data_dir, seed, ranks=ranks), seed)
    if data_dir is None and name is WorkloadName.MIXED:
        return _sample(["no data directory was named: mixed is the bundled sample"])
    if data_dir is None:
        raise ConfigError(f"the workload {name} needs a data directory; name one, or choose sample")
    if name is WorkloadName.SHAREGPT:
        return _sharegpt(data_dir, seed)
    directory = DataDirectory(data_dir, ranks)
    if name is WorkloadName.MIXED:
        return _mixed(directory, seed)
    rows, sources = directory.take(_CHOICES[name])
    return _finish(name, rows, sources, _absences(directory))


def compose(
    workload: Workload,
    arrivals: Sequence[Arrival],
    count: int,
    seed: int,
    tenants: Sequence[TenantShare] = (),
) -> list[TraceRow]:
    """A trace: prompts in a shuffled order at the given times; few prompts repeat.

    Args:
        workload: The prompts.
        arrivals: When they are sent, at least ``count`` of them; what is more is left out.
        count: Requests, at least 1.
        seed: Of the order and of the tenants' draw.
        tenants: Who sends. A recorded tenant of ``arrivals`` becomes one of these for the whole
            trace; requests of nobody in particular are drawn one by one. Empty keeps recorded
            names.
    """
    if not 1 <= count <= len(arrivals):
        raise ValueError("count must be from 1 to the number of arrivals")
    if any(tenant.share <= 0 for tenant in tenants):
        raise ValueError("a tenant's share must be positive")
    generator = random.Random(seed)  # noqa: S311
    order = list(workload.rows)
    generator.shuffle(order)
    senders = _senders(arrivals[:count], tenants, generator)
    return [
        _trace_row(order[position % len(order)], mark, sender)
        for position, (mark, sender) in enumerate(zip(arrivals[:count], senders, strict=True))
    ]


def length_statistics(lengths: Sequence[int]) -> dict[str, float]:
    """Mean, percentiles 50, 95 and 99 (nearest rank), largest value and CV of token counts."""
    ordered = sorted(lengths)
    mean = sum(ordered) / len(ordered)
    deviation = (sum((value - mean) ** 2 for value in ordered) / len(ordered)) ** 0.5
    percentiles = {
        f"p{percent}": float(ordered[-(-percent * len(ordered) // 100) - 1])
        for percent in _PERCENTILES
    }
    return {
        "mean": round(mean, 1),
        **percentiles,
        "max": float(ordered[-1]),
        "cv": round(deviation / mean, 2),
    }


def _trace_row(row: WorkloadPrompt, mark: Arrival, sender: TenantShare | None) -> TraceRow:
    return TraceRow(
        arrival_s=mark.offset_s,
        prompt=row.text,
        output_tokens=row.output_tokens,
        prompt_tokens=row.prompt_tokens,
        tenant=sender.name if sender else mark.tenant,
        service_tier=sender.service_tier if sender else None,
        source=row.source,
        prefix_group=mark.prefix_group,
    )


def _senders(
    arrivals: Sequence[Arrival], tenants: Sequence[TenantShare], generator: random.Random
) -> list[TenantShare | None]:
    if not tenants:
        return [None] * len(arrivals)
    shares = [tenant.share for tenant in tenants]
    known: dict[str, TenantShare] = {}
    senders: list[TenantShare | None] = []
    for mark in arrivals:
        if mark.tenant is None:
            senders += generator.choices(tenants, shares)
            continue
        if mark.tenant not in known:
            known[mark.tenant] = generator.choices(tenants, shares)[0]
        senders.append(known[mark.tenant])
    return senders


def _sample(notes: list[str]) -> Workload:
    rows = [
        WorkloadPrompt(
            text=row.prompt,
            output_tokens=row.output_tokens,
            prompt_tokens=estimate_tokens(row.prompt),
            source=row.source,
            answered_by=row.model,
            trained=row.source in TRAINED,
            seen=row.source in TRAINED,
        )
        for row in read_sample()
    ]
    counts = Counter((row.source, row.answered_by) for row in rows)
    sources = [
        SourceFacts(
            dataset=dataset,
            model=model,
            licence=_SAMPLE_LICENCE,
            upstream="bench/alise_bench/data/README.md",
            counted="cl100k_base",
            rows=count,
        )
        for (dataset, model), count in sorted(counts.items())
    ]
    warning = (
        "the sample was drawn before the split: the shipped predictor was trained on most of these "
        "prompts, so predictions are better here than on new ones"
    )
    return _finish(WorkloadName.SAMPLE, rows, sources, [*notes, warning])


def _mixed(directory: DataDirectory, seed: int) -> Workload:
    generator = random.Random(seed)  # noqa: S311
    groups = {name: directory.take(choices) for name, choices in _CHOICES.items()}
    share = min(len(rows) for rows, _ in groups.values())
    rows: list[WorkloadPrompt] = []
    sources: list[SourceFacts] = []
    for found, facts in groups.values():
        rows += generator.sample(found, share)
        sources += facts
    note = f"{share} prompts each of {', '.join(groups)}, drawn from the sources' rows"
    return _finish(WorkloadName.MIXED, rows, sources, [note, *_absences(directory)])


def _short_long(mixed: Workload, seed: int) -> Workload:
    """Short answers and long ones, four to one, and nothing between."""
    short = [row for row in mixed.rows if row.output_tokens <= SHORT_TOKENS]
    long = [row for row in mixed.rows if row.output_tokens >= LONG_TOKENS]
    most = min(len(short) // _SHORTS_PER_LONG, len(long))
    generator = random.Random(seed)  # noqa: S311
    rows = generator.sample(short, most * _SHORTS_PER_LONG) + generator.sample(long, most)
    text = (
        f"{_SHORTS_PER_LONG} answers of at most {SHORT_TOKENS} tokens to one of at least "
        f"{LONG_TOKENS}, drawn from {mixed.name}"
    )
    notes = [text, *cast("list[str]", mixed.facts["notes"])]
    sources = [SourceFacts(**facts) for facts in cast("list[Any]", mixed.facts["sources"])]
    return _finish(WorkloadName.SHORT_LONG, rows, sources, notes)


def _sharegpt(data_dir: Path, seed: int) -> Workload:
    name = "sharegpt_8k_filtered_stats_llama2_tokenizer.csv"
    path, raw = read_file(data_dir, "sarathi_sharegpt_lengths", name)
    pairs = []
    lines = csv.DictReader(raw.decode("utf-8", "replace").splitlines())
    for number, line in enumerate(lines, start=2):
        try:
            pair = int(line["num_prefill_tokens"]), int(line["num_decode_tokens"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path}, line {number}: has no whole num_prefill_tokens and num_decode_tokens; "
                "fetch the file again"
            ) from error
        if min(pair) >= 1:
            pairs.append(pair)
    chosen = random.Random(seed).sample(pairs, min(len(pairs), LENGTHS_ONLY_ROWS))  # noqa: S311
    rows = [
        WorkloadPrompt(
            text=_filler(number, prefill),
            output_tokens=decode,
            prompt_tokens=prefill,
            source="sarathi_sharegpt",
            answered_by="",
        )
        for number, (prefill, decode) in enumerate(chosen)
    ]
    source = SourceFacts(
        dataset="sarathi_sharegpt",
        model="",
        licence="Apache-2.0",
        upstream="microsoft/sarathi-serve@72339db5b120614033b317880ad3a05a5e4c9415",
        counted="Llama 2",
        rows=len(rows),
    )
    notes = [
        "lengths only: each prompt is filler of about the recorded number of tokens, so a "
        "predictor can learn from a prompt's length and from nothing else; for runs with an "
        "oracle or without prediction",
    ]
    return _finish(WorkloadName.SHAREGPT, rows, [source], notes)


def _filler(number: int, tokens: int) -> str:
    # The number comes first, so that no two prompts share a cached prefix.
    size = tokens * BYTES_PER_TOKEN
    return f"{number}: {_FILLER * (size // len(_FILLER) + 1)}"[:size]


def _absences(directory: DataDirectory) -> list[str]:
    if not directory.absent:
        return []
    return [
        "near-duplicates of prompts that the predictor was trained on were looked for without "
        + ", ".join(directory.absent)
    ]


def _finish(
    name: WorkloadName,
    rows: Sequence[WorkloadPrompt],
    sources: Sequence[SourceFacts],
    notes: Sequence[str],
) -> Workload:
    if not rows:
        raise ConfigError(f"the workload {name} has no prompt left; check the data directory")
    counts = Counter(row.source for row in rows)
    facts: dict[str, object] = {
        "workload": str(name),
        "prompts": len(rows),
        "sources": [asdict(source) for source in sources],
        "prompts_by_source": dict(sorted(counts.items())),
        "output_tokens": length_statistics([row.output_tokens for row in rows]),
        "prompt_tokens": length_statistics([row.prompt_tokens for row in rows]),
        "prompt_tokens_are": "recorded" if name is WorkloadName.SHAREGPT else _ESTIMATED,
        "trained_share": round(sum(row.trained for row in rows) / len(rows), 3),
        "seen_share": round(sum(row.seen for row in rows) / len(rows), 3),
        "notes": list(notes),
    }
    return Workload(name, tuple(rows), facts)
