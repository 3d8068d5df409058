import json

import pytest

from alise_bench.overhead.figures import Figure
from alise_bench.overhead.scenarios import (
    BY_NAME,
    QUICK,
    SCENARIOS,
    Scenario,
    Shape,
    chat_body,
    shortened,
)
from alise_bench.overhead.tables import COLUMNS


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_body_is_json_of_the_size_that_the_scenario_says(scenario: Scenario) -> None:
    body = chat_body(scenario)
    assert len(body) == scenario.body_bytes
    values = json.loads(body)
    assert values.get("stream", False) == scenario.streamed
    assert values["max_tokens"] == scenario.events


def test_every_scenario_has_columns_and_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(SCENARIOS)
    assert set(COLUMNS) == set(BY_NAME)
    assert set(QUICK) <= set(BY_NAME)
    assert {column for columns in COLUMNS.values() for column in columns} <= set(Figure)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_scenario_is_bounded_and_a_short_one_is_shorter(scenario: Scenario) -> None:
    assert scenario.issue_seconds + scenario.drain_seconds <= 120
    short = shortened(scenario)
    assert scenario.concurrency <= short.count <= scenario.count
    assert short.issue_seconds < scenario.issue_seconds


def test_the_crowd_overlaps_completely() -> None:
    crowd = next(scenario for scenario in SCENARIOS if scenario.shape is Shape.CROWD)
    assert crowd.ramp_seconds < crowd.events * crowd.interval_seconds
    assert crowd == SCENARIOS[0]
