"""The document of a trial. Pure: results in, Markdown out."""

from collections.abc import Mapping, Sequence

from alise_bench.compare.tables import Table, shown
from alise_bench.engine_trials.trial import Results, Row, Trial, over_seeds
from alise_bench.overhead.goals import Verdict
from alise_bench.overhead.report import table


def figures_table(trial: Trial, rows: Sequence[Row]) -> Table:
    """One line a case: medians and ranges over seeds."""
    cases = dict.fromkeys(row.case for row in rows)
    seeds = len({row.seed for row in rows})
    lines = [
        [case, *(shown(over_seeds(rows, case, figure)) for figure in trial.columns)]
        for case in cases
    ]
    title = f"{trial.title}, {seeds} seed{'s' if seeds != 1 else ''}"
    return Table(title, ["", *trial.columns.values()], lines)


def goals_table(results: Results) -> Table:
    """The goals, with what was measured."""
    rows = [
        [goal.text, goal.bound, shown(goal.measured), goal.verdict.value] for goal in results.goals
    ]
    return Table("Goals", ["goal", "bound", "measured", "verdict"], rows)


def render(trial: Trial, results: Results) -> str:
    """Markdown of the whole document."""
    found, goals = figures_table(trial, results.rows), goals_table(results)
    passed = sum(goal.verdict is Verdict.PASS for goal in results.goals)
    parts = [
        f"# {trial.title}",
        f"Measured by `alise bench engine-trial {results.trial}` on "
        f"{str(results.conditions['started'])[:10]}, on real vLLM. {trial.question}",
        "Medians over seeds [lowest - highest]; ratios are within a seed.",
        table(found.columns, found.rows),
        *(
            [f"{passed} of {len(results.goals)} goals pass.", table(goals.columns, goals.rows)]
            if results.goals
            else []
        ),
        "## Conditions",
        "\n".join(f"- {note}" for note in trial.notes),
        table(["", "value"], _conditions(results.conditions)).replace("--:", "---"),
        "Every figure of every seed: the JSON file beside this document.",
    ]
    return "\n\n".join(parts) + "\n"


def _conditions(conditions: Mapping[str, object]) -> list[list[str]]:
    return [
        [name, " ".join(map(str, value)) if isinstance(value, list) else str(value)]
        for name, value in conditions.items()
        if name != "predictor"
    ]
