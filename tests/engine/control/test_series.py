"""Whatever parts show, the page of metrics is one that Prometheus reads."""

import re

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from alise_vllm.control.exposition import page
from alise_vllm.control.series import MOST_SERIES, samples
from alise_vllm.tunable import Json

STATE: dict[str, Json] = {
    "scheduler": {
        "policy": "srpt",
        "preemptions_total": 3,
        "margin": 0.5,
        "limited": True,
        "waiting": {"0": 4, "2": 1, "note": "text"},
        "nested": {"a": {"b": 1}},
        "none": None,
        "list": [1, 2],
    },
    "broken": "no mapping",
}


def test_numbers_texts_and_tables_become_series() -> None:
    found = {
        (sample.name, sample.labels): sample.value
        for family in samples([STATE]).values()
        for sample in family
    }

    zero = ("engine", "0")
    assert found == {
        ("alise_engine_scheduler_policy_info", (zero, ("value", "srpt"))): 1,
        ("alise_engine_scheduler_preemptions_total", (zero,)): 3,
        ("alise_engine_scheduler_margin", (zero,)): 0.5,
        ("alise_engine_scheduler_limited", (zero,)): 1,
        ("alise_engine_scheduler_waiting", (zero, ("of", "0"))): 4,
        ("alise_engine_scheduler_waiting", (zero, ("of", "2"))): 1,
    }


def test_each_engine_has_its_label() -> None:
    text = page([{"core": {"running": 1}}, {"core": {"running": 2}}]).decode()

    assert 'alise_engine_core_running{engine="0"} 1.0' in text
    assert 'alise_engine_core_running{engine="1"} 2.0' in text
    assert text.count("# TYPE") == 1


def test_counters_are_counters() -> None:
    text = page([STATE]).decode()

    assert "# TYPE alise_engine_scheduler_preemptions_total counter" in text
    assert "# TYPE alise_engine_scheduler_margin gauge" in text


def test_a_part_that_shows_too_much_is_cut() -> None:
    found = samples([{"a": {str(number): number for number in range(10 * MOST_SERIES)}}])

    assert sum(map(len, found.values())) == MOST_SERIES


names = st.text(max_size=8)
numbers = st.one_of(st.integers(), st.floats(), st.booleans())
leaves = st.one_of(st.none(), numbers, st.text(max_size=8))
values = st.one_of(leaves, st.dictionaries(names, leaves, max_size=3), st.lists(leaves, max_size=2))
states = st.dictionaries(names, st.one_of(leaves, st.dictionaries(names, values, max_size=4)))


@given(st.lists(states, max_size=3))
def test_every_page_can_be_read(engines: list[dict[str, Json]]) -> None:
    families = list(text_string_to_metric_families(page(engines).decode()))

    read = [sample for family in families for sample in family.samples]
    assert len(read) == sum(map(len, samples(engines).values()))
    assert len({(sample.name, tuple(sample.labels.items())) for sample in read}) == len(read)
    assert all(re.fullmatch(r"alise_engine_\w+", sample.name, re.ASCII) for sample in read)
