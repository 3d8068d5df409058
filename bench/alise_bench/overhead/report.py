"""The document of one measurement: conditions, goals, ratios, every scenario, settings.

Pure: a result file in, Markdown out. The same figures always give the same text.
"""

from alise_bench.overhead.figures import Figure, memory_mib, ratio, wait_ratio
from alise_bench.overhead.goals import SUBJECT, Verdict, judge
from alise_bench.overhead.results import Conditions, Results, TargetInfo
from alise_bench.overhead.tables import number, predictor_table, scenario_tables, shown

_BUSY = 0.05
"""A server that waits for its CPU more than this share of the time is not alone on it."""
_PREDICTOR_OFF = 2
"""From this version of result files on, `alise` is the gateway without its predictor."""
_RATIO_PEERS = ("smg", "vllm-router", "litellm", "haproxy")
_RATIO_ROWS = (
    ("c64_1k", Figure.CPU_US, "CPU per request, 1 KiB"),
    ("c64_64k", Figure.CPU_US, "CPU per request, 64 KiB"),
    ("s64", Figure.CPU_US, "CPU per stream, no delay"),
    ("s256", Figure.CPU_US, "CPU per stream, 256 at 5 ms"),
    ("s1000", Figure.CPU_US, "CPU per stream, 1,000 at 50 ms"),
)


def render(results: Results) -> str:
    """Markdown of the whole document."""
    parts = [
        "# What the gateway costs",
        _introduction(results),
        "## Goals",
        _goals(results),
        "![CPU per request and per 1,000 streams](overhead.svg)",
        "## The gateway against its peers",
        "Share of the peer's CPU in the same round: below 1 is cheaper. Median [lowest - highest].",
        _ratios(results),
        *_predictor(results),
        *_scenarios(results),
        "## Memory",
        "Resident memory of the process tree, MiB; peak is the highest over all scenarios.",
        _memory(results),
        "## Conditions",
        _conditions(results.conditions),
        "Time that the server under test waited for its CPU, share of the wall time, over all "
        "scenarios and rounds (other work on the machine, or its own threads):",
        _waits(results),
        "## Targets",
        _targets(results.targets),
        _failures(results),
        _METHOD,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_METHOD = """Method, definitions and how to reproduce: [benchmarks.md](../benchmarks.md). Every
figure of every round: the JSON file beside this document."""


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table: first column to the left, the others to the right."""
    rule = ["---", *["--:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def _introduction(results: Results) -> str:
    conditions = results.conditions
    look = " **A first look (`--quick`), not a result.**" if conditions.quick else ""
    waits = wait_ratio(results, SUBJECT)
    if waits is not None and waits.median > _BUSY:
        look += (
            f" **The machine was not quiet: the gateway waited for its CPU {waits.median:.0%} of "
            "the time (median). CPU figures and ratios hold within their ranges; latencies and "
            "requests/s are other work's as much as the servers'.**"
        )
    return (
        f"Measured by `alise bench overhead` on {conditions.started[:10]}: {conditions.repeats} "
        f"rounds, medians [lowest - highest round].{look} {_gateway(results)} "
        "Every server has one CPU."
    )


def _gateway(results: Results) -> str:
    if results.version < _PREDICTOR_OFF:
        return (
            "The gateway runs as it comes, with its request log, metrics, limits, timeouts and "
            "retries on; `alise-keys` adds API keys."
        )
    return (
        "The gateway runs with its request log, metrics, limits, timeouts and retries on and its "
        "length predictor off, because its peers have none; `alise-keys` adds API keys, "
        "`alise-predictor` the predictor."
    )


def _goals(results: Results) -> str:
    judged = judge(results)
    passed = sum(item.verdict is Verdict.PASS for item in judged)
    rows = [
        [item.text, f"<= {number(item.limit)}", shown(item.measured), item.verdict.value]
        for item in judged
    ]
    summary = f"{passed} of {len(judged)} pass, judged by the median over rounds."
    return summary + "\n\n" + table(["goal", "limit", "measured", "verdict"], rows)


def _ratios(results: Results) -> str:
    rows = []
    for target in (SUBJECT, f"{SUBJECT}-keys"):
        for scenario, kind, title in _RATIO_ROWS:
            cells = [shown(ratio(results, target, peer, scenario, kind)) for peer in _RATIO_PEERS]
            if any(cell != "-" for cell in cells):
                rows.append([f"{target}: {title}", *cells])
    return table(["", *(f"of {peer}'s" for peer in _RATIO_PEERS)], rows)


def _predictor(results: Results) -> list[str]:
    found = predictor_table(results)
    if found is None:
        return []
    text = (
        "The gateway with its predictor (`alise-predictor`) against itself without (`alise`), in "
        "the same round. On means: every request is predicted on arrival, every answer learned "
        "from. Nothing waits in a queue here, so that tier 1, where the bundle has one, takes "
        "memory and no time."
    )
    return [f"## {found.title}", text, table(found.columns, found.rows)]


def _scenarios(results: Results) -> list[str]:
    parts = ["## Scenarios"]
    for item in scenario_tables(results):
        parts += [f"### {item.title}", table(item.columns, item.rows)]
    return parts


def _memory(results: Results) -> str:
    rows = []
    for target in results.targets:
        idle, peak = memory_mib(results, target.name)
        if idle is not None:
            rows.append([target.name, shown(idle), shown(peak)])
    return table(["target", "idle MiB", "peak MiB"], rows)


def _conditions(conditions: Conditions) -> str:
    libraries = ", ".join(f"{name} {value}" for name, value in conditions.libraries.items())
    proxy = "shared" if conditions.proxy_cpu is None else str(conditions.proxy_cpu)
    rows = [
        ["started", conditions.started],
        ["CPU", f"{conditions.cpu_model}, {conditions.cpus} visible"],
        ["CPU of the server under test / of load and mocks", f"{proxy} / {conditions.load_cpu}"],
        ["kernel, Python", f"{conditions.kernel}, {conditions.python}"],
        ["libraries", libraries],
        [
            "load average before / after",
            f"{number(conditions.load_average_before)} / {number(conditions.load_average_after)}",
        ],
        ["rounds, seed", f"{conditions.repeats}, {conditions.seed}"],
    ]
    return table(["", "value"], rows).replace("--:", "---")


def _waits(results: Results) -> str:
    rows = [
        [target.name, shown(wait_ratio(results, target.name))]
        for target in results.targets
        if target.name != "direct" and wait_ratio(results, target.name) is not None
    ]
    return table(["target", "waiting / wall"], rows)


def _targets(targets: list[TargetInfo]) -> str:
    rows = [
        [
            item.name,
            item.version or "-",
            item.note + (f" **{item.missing}**" if item.missing else ""),
        ]
        for item in targets
    ]
    return table(["target", "version", "settings"], rows).replace("--:", "---")


def _failures(results: Results) -> str:
    if not results.failures:
        return ""
    # Only the first line: the rest is a foreign log.
    lines = [f"- {failure.splitlines()[0]}" for failure in results.failures]
    return "Failures:\n\n" + "\n".join(lines)
