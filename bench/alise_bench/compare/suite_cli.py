"""``alise bench compare --suite``: run everything, judge the goals, write the published files."""

import argparse

import msgspec

from alise_bench.compare.conditions import NOTES, read_machine
from alise_bench.compare.goals import judge
from alise_bench.compare.publish import publish
from alise_bench.compare.results import Results
from alise_bench.compare.run import Say
from alise_bench.compare.suite import Found, Plan, jobs_of, run_suite_jobs
from alise_core.errors import ConfigError

NAME = "scheduling"
"""Of the files."""
_QUICK_REQUESTS, _QUICK_SECONDS = 600, 60.0


def run_suite(options: argparse.Namespace, say: Say) -> int:
    """Run the suite.

    Args:
        options: Of the command line.
        say: Takes lines of progress; has to reach other processes.

    Returns: 0 when everything was run, whatever the verdicts.

    Raises:
        ConfigError: A flag is missing, or does not go together with a suite.
    """
    _check(options)
    default = Plan(data=options.data)
    plan = Plan(
        data=options.data,
        ranks=options.ranks,
        seeds=1 if options.quick else max(default.seeds, options.seeds),
        requests=options.requests or (_QUICK_REQUESTS if options.quick else default.requests),
        search_seconds=options.search_seconds or (_QUICK_SECONDS if options.quick else None),
        tier1=not options.no_tier1,
    )
    machine = read_machine()
    found = run_suite_jobs(jobs_of(plan), options.jobs, tier1=plan.tier1, say=say)
    conditions = {
        **machine,
        "quick": options.quick,
        "seeds": plan.seeds,
        "requests": plan.requests,
        "tier1": plan.tier1,
        "cells": found.cells,
        "warnings": [],
        "notes": list(NOTES),
    }
    for file in publish(judged(conditions, found), options.out, NAME):
        say(f"written: {file}")
    return 0


def judged(conditions: dict[str, object], found: Found) -> Results:
    """What was found, with its verdicts."""
    results = Results(conditions, found.rows, found.searches)
    return msgspec.structs.replace(results, goals=judge(results))


def _check(options: argparse.Namespace) -> None:
    if options.out is None:
        raise ConfigError("--suite writes files; name their folder with --out DIR")
    if options.search_seconds is not None and not options.search_seconds > 0:
        raise ConfigError(f"--search-seconds: {options.search_seconds:g} is not more than 0")
    if options.jobs < 1:
        raise ConfigError(f"--jobs: {options.jobs} is not at least 1")
    for name in (
        "trace", "rows", "workload", "arrivals", "cv", "rho", "pods", "rate_scale", "study_share"
    ):  # fmt: skip
        value = getattr(options, name)
        if value is not None:
            flag = name.replace("_", "-")
            raise ConfigError(f"--{flag} {value} does not go with --suite, which sets it; drop it")
    if options.engine != "sim":
        raise ConfigError(f"--engine {options.engine}: a suite is simulated; leave it out")
