"""The document of a comparison: conditions, tables, what candidates are, what was left out.

Pure: results in, Markdown out; the same results always give the same text. It states figures and
how they came about; what they mean for the design is written elsewhere, by people.
"""

import textwrap
from collections.abc import Sequence

from alise_predictor.train.compare.regimes import IN, OUT, TOOLS
from alise_predictor.train.compare.results import CandidateResult, RegimeResult, Results
from alise_predictor.train.compare.tables import (
    Rows,
    adaptation_sources,
    adaptation_table,
    ceiling_table,
    cost_table,
    held_out_table,
    latency_table,
    main_table,
    markdown,
    source_table,
    test_table,
)

_WIDTH = 100
_PARTS = {
    IN: "In distribution: test clusters of the data sets that train",
    OUT: "Out of distribution: data sets absent from training",
    TOOLS: "Tool calls: one data set absent from training",
}
_TAKEN = ("constant", "tier0", "tier0_undistilled", "fine_tuned_int8", "blend_int8")
"""Candidates that the pictures show, of those that were run."""


def render(results: Results, pictures: Sequence[str]) -> str:
    """Markdown of the whole document.

    Args:
        results: What was measured.
        pictures: File names of the pictures beside the document.
    """
    parts = ["# How well output length is predicted", _introduction(results)]
    for regime in results.regimes:
        parts += _regime(regime)
    parts += [f"![{_title(name)}]({name})" for name in pictures]
    parts += _adaptation(results)
    parts += _held_out(results)
    parts += _ceilings(results)
    parts += _costs(results)
    parts += ["## Candidates", _candidates(results), *_left_out(results)]
    parts += ["## Conditions", _conditions(results), "## How it is measured", *_method()]
    return "\n\n".join(part for part in parts if part) + "\n"


def shown_candidates(regime: RegimeResult) -> list[CandidateResult]:
    """The few that pictures show: the shipped ones, and what they have to beat."""
    return [one for one in regime.candidates if one.name in _TAKEN]


def wrap(text: str) -> str:
    """A paragraph with short lines; a blank line begins another."""
    return "\n".join(textwrap.wrap(" ".join(text.split()), _WIDTH, break_on_hyphens=False))


def _introduction(results: Results) -> str:
    kind = results.conditions.get("kind", "")
    look = "" if kind == "full" else f" **This run is {kind}, not a result.**"
    return wrap(
        f"Measured by `{results.conditions.get('command', '')}` on "
        f"{results.conditions.get('date', '')}.{look} Figures are computed within each group of "
        "one data set and one model, averaged over the models of a data set, and then over data "
        "sets, so that every data set counts the same. The pooled tau beside them is over all "
        "rows at once and flatters: data sets differ in length, and telling them apart orders "
        "most pairs. Every candidate is scored on the same rows. Figures of everything that was "
        "run are shown, also where a candidate is no better than less."
    )


def _regime(regime: RegimeResult) -> list[str]:
    parts = [f"## Training set `{regime.name}`", wrap(f"{regime.summary[0].upper()}"
             f"{regime.summary[1:]}.")]  # fmt: skip
    for part, title in _PARTS.items():
        if part not in regime.tests:
            continue
        parts += [f"### {title}", markdown(main_table(regime, part))]
        parts += [_leaders(regime, part), "Kendall's tau-b of each data set:"]
        parts.append(markdown(source_table(regime.candidates, part)))
    parts += ["### What trains and what is scored", markdown(_tests(regime))]
    missing = [name for name in regime.train_prompts if name not in regime.tests.get(IN, {})]
    if missing:
        parts.append(
            wrap(f"Without a group of enough test rows in distribution: {', '.join(missing)}.")
        )
    return parts


def _tests(regime: RegimeResult) -> Rows:
    return test_table(regime, list(_PARTS))


def _leaders(regime: RegimeResult, part: str) -> str:
    """Which candidates' difference from tier 0 is beyond the interval, computed."""
    better, same, worse = [], [], []
    for one in regime.candidates:
        found = one.parts.get(part)
        if found is None or found.difference is None:
            continue
        if found.difference.low > 0:
            better.append(one.name)
        elif found.difference.high < 0:
            worse.append(one.name)
        else:
            same.append(one.name)
    if not (better or same or worse):
        return ""
    lists = (
        (f"better than {regime.reference}", better),
        ("not told apart from it", same),
        ("worse", worse),
    )
    text = "; ".join(f"{title}: {', '.join(names) or 'none'}" for title, names in lists)
    return wrap(f"By the 95 % interval of the difference in tau, {text}.")


def _adaptation(results: Results) -> list[str]:
    if not results.adaptation:
        return []
    parts = [
        "## Learning in place",
        wrap(
            "The bundle on data sets absent from training, as the traffic of one tenant and one "
            "model in random order: every request is predicted, then its answer is learned, "
            "through the gateway's own learner. Up to three models of each data set and 3,000 "
            "requests; figures inside each span, mean over models, then over data sets. Beside "
            "the errors stands that of the running median of the stream's own answers. A stream "
            "counts in a span that it fills at least by half."
        ),
        markdown(adaptation_table(results.adaptation), left=2),
    ]
    for one in results.adaptation:
        parts += [f"Tau-b by data set, {one.tier}:", markdown(adaptation_sources(one))]
    return parts


def _held_out(results: Results) -> list[str]:
    if not results.held_out:
        return []
    timed = any(one.kind == "time" for one in results.held_out)
    return [
        "## Tier 0 without data sets and models",
        wrap(
            "Tier 0, undistilled, is fitted again without one data set, and without a third of the "
            "models of a data set. Both columns are scored on the same rows; where a data set has "
            "too few "
            "test prompts for that, all of it is scored and the second column is empty."
            + ("" if timed else _UNTIMED)
        ),
        markdown(held_out_table(results.held_out), left=2),
    ]


_UNTIMED = (
    " A time split needs timestamps, which only own data has; the directory held none with enough."
)


def _ceilings(results: Results) -> list[str]:
    if not results.ceilings:
        return []
    return [
        "## What is reachable",
        wrap(
            "Kendall's tau-b between lengths of answers to the same prompts: of one model asked "
            "twice, of two models, and of one model with the mean over all others, which is what "
            "a predictor that knows the prompt perfectly but not the model could reach. Mean and "
            "percentiles over comparisons. Lengths that hit a limit are compared as they are."
        ),
        markdown(ceiling_table(results.ceilings), left=2),
    ]


def _costs(results: Results) -> list[str]:
    parts = ["## Cost"]
    if results.latency:
        parts += [
            wrap(
                "ONNX on one thread, medians. `graph` is the graph with its inputs ready, "
                "`served` includes features or tokenizing. A graph reads at most the head and "
                "tail word pieces of a prompt (tier 1) or the n-grams of its first and last "
                "bytes (tier 0). CPU time is the thread's own: on a shared machine wall time "
                "is partly other work's."
            ),
            markdown(latency_table(results.latency), left=2),
        ]
    for regime in results.regimes[:1]:
        parts += [
            wrap(
                "Every candidate as this process runs it, for one prompt of 128 tokens, features "
                "or tokenizing included: tier 0 and int8 networks by ONNX Runtime, trees by "
                "LightGBM, other networks by torch. CPU time of the thread, median. Size is that "
                "of what would be shipped. Fitting does not count training that was done before."
            ),
            markdown(cost_table(regime.candidates)),
        ]
    return parts


def _candidates(results: Results) -> str:
    found = {one.name: one.summary for regime in results.regimes for one in regime.candidates}
    return "\n".join(f"- `{name}`: {summary}." for name, summary in found.items())


def _left_out(results: Results) -> list[str]:
    lines = [
        f"- `{name}` ({regime.name}): {reason}"
        for regime in results.regimes
        for name, reason in regime.left_out.items()
    ]
    return ["Not run:", "\n".join(lines)] if lines else []


def _conditions(results: Results) -> str:
    rows = [["", "value"], *([name, value] for name, value in results.conditions.items())]
    return markdown(rows, left=2)


def _method() -> list[str]:
    paragraphs = (
        "A prompt and its near-duplicates are on one side of every split; the split is by "
        "cluster, over all data sets together, and is searched for leaks before anything is "
        "fitted. Out of distribution, prompts with a near-duplicate in a training data set are "
        "not scored. See [the data card](../data-card.md).",
        "Predictions are for an average model; a group's offset in log length is added before "
        "sizes are judged. In distribution it is the one fitted in training; out of distribution "
        "it is the median residual of 50 rows of the group, which are not scored. Order (tau, "
        "rho, pairs) does not depend on it. Predictions are clamped to the training range.",
        "`pairs` is the share of pairs of different lengths in the right order, `pairs 2x` over "
        "pairs that differ by at least a factor of two. MAE and `within` are of the median, in "
        "tokens. Pinball is the mean over the levels 0.1, 0.25, 0.5, 0.75 and 0.9, in log "
        "tokens. `<= p50`, `<= p90` and `p10-p90` are shares of true lengths, honest at 0.50, "
        "0.90 and 0.80.",
        "The last column is a paired bootstrap over prompts: the prompts of each data set are "
        "drawn with replacement, for both candidates and all models alike; in brackets the 2.5th "
        "and 97.5th percentiles. It is over fewer models than the tau beside it.",
        "Tool calls are in no average: their answers are calls, not prose.",
    )
    return [wrap(paragraph) for paragraph in paragraphs]


def _title(picture: str) -> str:
    return picture.rpartition(".")[0].replace("-", " ")
