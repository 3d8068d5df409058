import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from alise_gateway.measure.series import Counters, Histograms

BOUNDS = (0.1, 1.0, 10.0)


@given(st.lists(st.floats(0, 100)))
def test_histograms_expose_what_prometheus_client_would(values: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    cells = Histograms("h_seconds", "Help.", ["model"], BOUNDS)
    ours.register(cells)
    reference = Histogram("h_seconds", "Help.", ["model"], buckets=BOUNDS, registry=theirs)
    cells.cell("m")
    reference.labels("m")
    for value in values:
        cells.cell("m").observe(value)
        reference.labels("m").observe(value)
    expected = [
        line for line in generate_latest(theirs).decode().splitlines() if "_created" not in line
    ]
    assert generate_latest(ours).decode().splitlines() == expected


def test_a_value_on_a_bound_belongs_to_it() -> None:
    cell = Histograms("h_seconds", "Help.", [], BOUNDS).cell()
    for value in (0.1, 1.0, 10.0, 10.5):
        cell.observe(value)
    assert cell.counts == [1, 1, 1, 1]


def test_bounds_must_ascend() -> None:
    with pytest.raises(ValueError, match="h_seconds"):
        Histograms("h_seconds", "Help.", [], (1.0, 0.5))


def test_a_counter_keeps_one_cell_per_label_set() -> None:
    counters = Counters("c_total", "Help.", ["backend", "kind"])
    counters.cell("a", "x").value += 2
    counters.cell("a", "x").value += 3
    counters.cell("b", "x").value += 1
    assert counters.cell("a", "x").value == 5
    counters.forget("a")
    (family,) = counters.collect()
    assert [sample.labels for sample in family.samples] == [{"backend": "b", "kind": "x"}]


@pytest.mark.parametrize(
    "family", [Counters("c_total", "", ["a"]), Histograms("h", "", ["a"], BOUNDS)]
)
def test_wrong_label_count_is_refused(family: Counters | Histograms) -> None:
    with pytest.raises(ValueError, match="labels"):
        family.cell("x", "y")


def test_a_counter_without_labels_starts_at_zero() -> None:
    registry = CollectorRegistry()
    registry.register(Counters("c_total", "Help."))
    assert registry.get_sample_value("c_total") == 0
