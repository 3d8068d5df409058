import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.errors import WireError
from alise_gateway.discovery.engine_metrics import parse_figures
from alise_gateway.domain.engine_figures import EngineFigures

PAGE = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="org/m"} 3.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="org/m"} 2.0
# TYPE vllm:num_requests_waiting_by_reason gauge
vllm:num_requests_waiting_by_reason{engine="0",model_name="org/m",reason="capacity"} 99.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="org/m"} 0.25
# TYPE vllm:num_preemptions_total counter
vllm:num_preemptions_total{engine="0",model_name="org/m"} 7.0
# TYPE vllm:num_preemptions_created gauge
vllm:num_preemptions_created{engine="0",model_name="org/m"} 1.7e+09
# TYPE vllm:request_success_total counter
vllm:request_success_total{engine="0",finished_reason="stop",model_name="org/m"} 40.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="org/m"} 2.0
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",cache_dtype="fp8_e4m3",engine="0",num_cpu_blocks="None",\
num_gpu_blocks="1001",num_gpu_blocks_override="None"} 1.0
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.001",model_name="org/m"} 0.0
"""
WHOLE = EngineFigures(
    at=5.0,
    capacity_tokens=16_000,
    cache_dtype="fp8_e4m3",
    usage_ratio=0.25,
    running=3,
    waiting=2,
    preemptions=7.0,
    finished=42.0,
)
TWO = """\
vllm:num_requests_running{engine="0",model_name="m"} 3
vllm:num_requests_running{engine="1",model_name="m"} 4
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.1
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.9
vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",num_gpu_blocks="301"} 1
vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="1",num_gpu_blocks="101"} 1
"""


def parse(page: str) -> EngineFigures:
    return parse_figures(page.encode(), 5.0)


def test_everything_that_vllm_says() -> None:
    assert parse(PAGE) == WHOLE


def test_neither_the_order_nor_the_last_line_break_matters() -> None:
    lines = PAGE.splitlines()
    assert parse("\n".join(reversed(lines))) == WHOLE
    assert parse(PAGE.replace("} ", "}\t")) == WHOLE


def test_a_timestamp_may_follow_a_value() -> None:
    assert parse(PAGE.replace(" 3.0\n", " 3.0 1700000000000\n")) == WHOLE


def test_series_without_labels_count_too() -> None:
    assert parse("vllm:num_requests_running 3\nvllm:kv_cache_usage_perc 0.5").running == 3


def test_engines_are_added_up_and_their_memory_weighs_their_use() -> None:
    figures = parse(TWO)
    assert figures.running == 7
    assert figures.capacity_tokens == (300 + 100) * 16
    assert figures.usage_ratio == pytest.approx((300 * 0.1 + 100 * 0.9) / 400)
    assert figures.waiting is None


def test_use_is_the_plain_mean_where_capacities_are_not_known() -> None:
    figures = parse(TWO.replace('num_gpu_blocks="101"', 'num_gpu_blocks="None"'))
    assert figures.capacity_tokens is None
    assert figures.usage_ratio == pytest.approx(0.5)


def test_an_engine_that_is_described_twice_counts_once() -> None:
    line = next(line for line in PAGE.splitlines() if line.startswith("vllm:cache_config"))
    assert parse(f"{PAGE}{line}\n") == WHOLE


def test_a_model_named_like_a_label_is_no_label() -> None:
    name = r"x,num_gpu_blocks=\"9\",block_size=\"1\"}"
    page = PAGE.replace("{block_size", f'{{a_name="{name}",block_size').replace("org/m", name)
    assert parse(page) == WHOLE


def test_names_of_sglang() -> None:
    page = (
        'sglang:num_running_reqs{model_name="m"} 4.0\nsglang:num_queue_reqs{model_name="m"} 1.0\n'
        'sglang:token_usage{model_name="m"} 0.5\nsglang:max_total_num_tokens{model_name="m"} 9e4\n'
    )
    assert parse(page) == EngineFigures(
        5.0, capacity_tokens=90_000, usage_ratio=0.5, running=4, waiting=1
    )


@pytest.mark.parametrize(
    ("field", "true", "lies"),
    [
        ("running", 'running{engine="0",model_name="org/m"} 3.0', ["NaN", "-1", "+Inf", "1e9"]),
        ("waiting", 'waiting{engine="0",model_name="org/m"} 2.0', ["nan", "-0.5", "x", ""]),
        ("usage_ratio", '_perc{engine="0",model_name="org/m"} 0.25', ["NaN", "-0.1", "1.6", "inf"]),
        ("preemptions", 'tions_total{engine="0",model_name="org/m"} 7.0', ["NaN", "-1", "1e300"]),
        ("finished", '"length",model_name="org/m"} 2.0', ["NaN", "-2", "1e16", "0x10"]),
    ],
)
def test_one_figure_that_lies_is_left_out_alone(field: str, true: str, lies: list[str]) -> None:
    assert PAGE.count(true) == 1
    for lie in lies:
        figures = parse(PAGE.replace(true, f"{true.rpartition(' ')[0]} {lie}"))
        shown = {name: getattr(figures, name) for name in WHOLE.__slots__}
        expected = {name: getattr(WHOLE, name) for name in WHOLE.__slots__}
        assert shown == expected | {field: None}, lie


@pytest.mark.parametrize("blocks", ["None", "0", "1", "-5", "nan", "1e9", "9" * 30, ""])
def test_a_capacity_that_cannot_be_is_left_out(blocks: str) -> None:
    figures = parse(PAGE.replace('num_gpu_blocks="1001"', f'num_gpu_blocks="{blocks}"'))
    assert figures.capacity_tokens is None
    assert figures.usage_ratio == 0.25


def test_a_little_more_than_full_is_full() -> None:
    assert parse(PAGE.replace(" 0.25\n", " 1.02\n")).usage_ratio == 1.0


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"<html>busy</html>", b"\x00\xff" * 99, '{"detail":"é"}'.encode()]
)
def test_what_is_no_page_of_metrics_is_refused(body: bytes) -> None:
    with pytest.raises(WireError, match="not a page of metrics"):
        parse_figures(body, 5.0)


def test_metrics_of_something_else_say_nothing() -> None:
    page = "# TYPE python_info gauge\npython_info 1.0\nvllm:num_requests_running"
    assert parse(page) == EngineFigures(5.0)


@pytest.mark.parametrize(
    "piece",
    [
        "vllm:num_requests_running 1\n",
        "vllm:num_requests_running",
        'vllm:cache_config_info{engine="0",num_gpu_blocks="\n',
        ',engine="',
        "# HELP ",
        "\n",
    ],
)
def test_four_mebibytes_of_one_thing_are_of_no_use(piece: str) -> None:
    page = "vllm:\n" + piece * (4 * 1024 * 1024 // len(piece))
    assert parse(page) == EngineFigures(5.0)


LINES = st.sampled_from(PAGE.splitlines() + TWO.splitlines())
NUMBERS = st.floats().map(str) | st.integers().map(str) | st.text(max_size=8)
LIES = st.builds(lambda line, number: f"{line.rpartition(' ')[0]} {number}", LINES, NUMBERS)
CUTS = st.builds(lambda line, start, end: line[start:end], LINES, st.integers(), st.integers())


@given(st.lists(LINES | LIES | CUTS | st.text(max_size=40), max_size=40), st.binary(max_size=20))
def test_whatever_comes_every_figure_is_possible_or_missing(lines: list[str], end: bytes) -> None:
    body = "\n".join(lines).encode("utf-8", "replace") + end
    try:
        figures = parse_figures(body, 5.0)
    except WireError:
        return
    for figure in (
        figures.capacity_tokens,
        figures.usage_ratio,
        figures.running,
        figures.waiting,
        figures.preemptions,
        figures.finished,
    ):
        assert figure is None or (math.isfinite(figure) and figure >= 0)
    assert figures.usage_ratio is None or figures.usage_ratio <= 1
    assert figures.capacity_tokens is None or figures.capacity_tokens > 0
