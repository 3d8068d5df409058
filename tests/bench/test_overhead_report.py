from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from alise_bench.load.distribution import Spread
from alise_bench.overhead.report import render, table
from alise_bench.overhead.report_cli import main
from alise_bench.overhead.results import Results, decode, encode
from alise_bench.overhead.tables import number, scenario_tables, shown
from alise_core.errors import ConfigError
from fakes.overhead_results import results, row


@pytest.fixture
def measured() -> Results:
    return results(
        row("direct", "s256"),
        row("alise", "s256", cpu=1_234.0),
        row("smg", "s256", cpu=2_000.0),
        row("alise", "c64_1k", cpu=80.0, errors=3),
        row("smg", "c64_1k", cpu=100.0),
        missing="haproxy",
    )


def test_a_result_file_reads_back_as_it_was(measured: Results) -> None:
    assert decode(encode(measured)) == measured
    with pytest.raises(ValueError, match="not a result file"):
        decode(b'{"rows": 1}')


def test_the_document_shows_figures_goals_ratios_and_what_is_missing(measured: Results) -> None:
    text = render(measured)
    assert "| CPU per 1 KiB request, share of smg's | <= 0.850 | 0.800 | pass |" in text
    assert "| CPU per 1 KiB request, share of LiteLLM's | <= 0.017 | - | open |" in text
    assert "| alise | 80.0 |" in text
    assert "**not installed**" in text
    assert "Some CPU" in text
    assert "0.617" in text


def test_a_busy_machine_is_said_in_the_first_paragraph(measured: Results) -> None:
    assert "not quiet" not in render(measured)
    rows = [msgspec.structs.replace(item, wait_seconds=0.2) for item in measured.rows]
    busy = msgspec.structs.replace(measured, rows=rows)
    assert "not quiet: the gateway waited for its CPU 10%" in render(busy)


def test_a_result_file_has_a_line_a_row_and_no_needless_digits(measured: Results) -> None:
    long = msgspec.structs.replace(measured.rows[0], wall_seconds=1.23456789)
    text = encode(msgspec.structs.replace(measured, rows=[long, long])).decode()
    assert text.count('"wall_seconds": 1.23457,') == 2
    assert sum('"wall_seconds"' in line for line in text.splitlines()) == 2


def test_errors_stand_beside_the_figures(measured: Results) -> None:
    tables = {item.name: item for item in scenario_tables(measured)}
    alise = next(cells for cells in tables["c64_1k"].rows if cells[0] == "alise")
    assert alise[-1] == "3"
    assert list(tables) == ["c64_1k", "s256"]


def test_every_table_of_the_document_is_rectangular(measured: Results) -> None:
    lines = [line for line in render(measured).splitlines() if line.startswith("|")]
    widths: list[int] = []
    for line in lines:
        columns = line.count("|")
        if set(line) <= set("|-: "):
            assert columns == widths[-1]
        widths.append(columns)
    assert widths


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0166, "0.017"),
        (1.5, "1.50"),
        (23.44, "23.4"),
        (12_345.6, "12,346"),
        (-2, "-2.00"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_a_spread_shows_median_and_range() -> None:
    assert shown(Spread(1.0, 0.5, 2.0, 3)) == "1.00 [0.500 - 2.00]"
    assert shown(Spread(1.0, 1.0, 1.0, 1)) == "1.00"
    assert shown(None) == "-"


def test_a_markdown_table_has_a_rule() -> None:
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --: |\n| 1 | 2 |"


@pytest.mark.slow
def test_document_and_picture_lie_beside_the_result_file(measured: Results, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_bytes(encode(measured))
    assert main([str(file)]) == 0
    assert "](run.svg)" in (tmp_path / "run.md").read_text()
    first = (tmp_path / "run.svg").read_bytes()
    assert ElementTree.fromstring(first).tag.endswith("svg")  # noqa: S314  our own file
    assert len(first) < 100_000
    main([str(file)])
    assert (tmp_path / "run.svg").read_bytes() == first


def test_a_file_that_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        main([str(tmp_path / "none.json")])
