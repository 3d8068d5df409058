"""The suite: which jobs there are, and that a small one ends in judged goals and files."""

from dataclasses import replace
from pathlib import Path

import pytest

from alise_bench.compare.front import front_rows
from alise_bench.compare.offer import Library, Source
from alise_bench.compare.publish import publish
from alise_bench.compare.results import FLOOD, FRONT, LEARNED, MAIN, OVERLOAD, decode
from alise_bench.compare.rows import DEFAULT, ROWS
from alise_bench.compare.suite import QUIET, Job, Kind, Plan, jobs_of, run_suite_jobs
from alise_bench.compare.suite_cli import judged
from alise_bench.compare.throughput import Bounds
from alise_bench.workloads.prompts import TenantShare, WorkloadName


def test_goals_have_their_loads_on_every_seed() -> None:
    jobs = jobs_of(Plan(data=Path("data"), seeds=3))
    for rho in (0.3, 0.5, 1.0, 1.1, 1.3):
        seeds = {job.seed for job in jobs if job.cell == MAIN and rho in job.rhos}
        assert seeds == {1, 2, 3}
    searches = [job for job in jobs if job.kind is Kind.SEARCH]
    assert {job.source.workload for job in searches} == {"alpaca", "chat", "sharegpt"}
    assert all(LEARNED in job.rows and job.source.study_share > 0 for job in searches)


def test_an_overload_is_long() -> None:
    plan = Plan(data=Path("data"))
    overload = [job for job in jobs_of(plan) if job.cell == OVERLOAD]
    assert {job.seed for job in overload} == {1, 2}
    for job in overload:
        assert job.rhos == (1.3,)
        assert job.source.requests == 5 * plan.requests
        assert set(job.rows) <= {*ROWS, *front_rows()}


def test_prompts_that_are_studied_are_not_sent() -> None:
    library, source = Library(), Source(requests=300, study_share=0.25)
    study = {item.prompt for item in library.study(source, 1, 4_096)}
    sent = {item.prompt for item in library.offer(source, 1.0, 1, 4_096).trace}
    everything = {item.prompt for item in library.offer(Source(requests=300), 1.0, 1, 4_096).trace}
    assert study
    assert not study & sent
    assert study | sent >= everything
    assert len(study) == pytest.approx(0.25 * len(study | sent), rel=0.5)
    assert library.study(source, 2, 4_096)[0].prompt in study, "the same ones on every seed"
    assert not library.study(Source(requests=300), 1, 4_096)


def test_each_row_of_the_front_differs_from_the_default() -> None:
    rows = front_rows()
    assert all(row.policy.ordering != DEFAULT.ordering for row in rows.values())
    assert not set(rows) & set(ROWS)


@pytest.mark.slow
def test_the_flood_counts_the_quiet_tenant_only() -> None:
    tenants = (TenantShare(name=QUIET, share=1), TenantShare(name="flooder", share=10))
    source = Source(requests=110, tenants=tenants)
    job = Job(
        kind=Kind.FLOOD, cell=FLOOD, source=source, seed=1, rows=("default",), rhos=(2.2,), pods=1
    )
    found = run_suite_jobs([job], 1, tier1=False, say=lambda _: None)
    alone, flooded = found.rows
    assert alone.requests == flooded.requests < 30
    assert alone.ttlt_s is not None
    assert flooded.ttlt_s is not None
    assert alone.ttlt_s.mean < flooded.ttlt_s.mean


@pytest.mark.slow
def test_two_processes_find_what_one_finds() -> None:
    jobs = [
        Job(cell="x", source=Source(requests=30), seed=seed, rows=("fcfs", "default"), pods=1)
        for seed in (1, 2)
    ]
    one, two = (run_suite_jobs(jobs, count, tier1=False, say=print) for count in (1, 2))
    assert one.rows == two.rows
    assert one.cells == two.cells
    assert one.cells["x"]["seeds"] == [1, 2]


@pytest.mark.slow
def test_what_a_suite_finds_is_judged_and_published(tmp_path: Path) -> None:
    small = Source(requests=12)
    rows = ("fcfs", "default", "oracle")
    jobs = [
        Job(cell=MAIN, source=small, seed=1, rows=rows, rhos=(0.5, 1.1), pods=1),
        Job(cell=OVERLOAD, source=small, seed=1, rows=rows, rhos=(1.3,), pods=1),
        Job(cell=FRONT, source=small, seed=1, rows=("fcfs", "default", "no guard"), pods=1),
        Job(
            kind=Kind.SEARCH,
            cell="equal latency",
            source=replace(small, workload=WorkloadName.SAMPLE, study_share=0.25),
            seed=1,
            rows=("direct-least", "default", LEARNED),
            pods=1,
            bounds=Bounds(duration_s=1.0),
        ),
    ]
    found = run_suite_jobs(jobs, 1, tier1=False, say=lambda _: None)
    conditions: dict[str, object] = {
        "started": "2026-01-01",
        "warnings": [],
        "notes": [],
        "cells": found.cells,
    }
    files = publish(judged(conditions, found), tmp_path, "scheduling")
    pictures = ["scheduling-load.svg", "scheduling-front.svg", "scheduling-rates.svg"]
    assert [file.name for file in files] == ["scheduling.json", "scheduling.md", *pictures]
    results = decode(files[0].read_bytes())
    assert {row.cell for row in results.rows} == {MAIN, FRONT, OVERLOAD}
    assert {item.row for item in results.searches} == {"direct-least", "default", LEARNED}
    assert {goal.verdict for goal in results.goals} >= {"open"}
    text = files[1].read_text()
    assert all(picture in text for picture in pictures)
    assert "| mean TTLT at rho 1.1, by fcfs's |" in text
    assert "| mean TTLT at rho 1.3 in ten minutes of overload, by fcfs's |" in text
    assert "## Ten minutes of overload" in text
    assert "sample for 1 s" in text
    assert publish(results, tmp_path / "again", "scheduling")[1].read_text() == text
