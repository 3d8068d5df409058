from hypothesis import given
from hypothesis import strategies as st

from alise_operator.decide.engine import EngineFacts
from alise_operator.observe.exposition import engine_facts, samples

PAGE = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="org/model"} 3.0
# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",cache_dtype="fp8_e4m3",engine="0",\
gpu_memory_utilization="0.9",num_gpu_blocks="1001",num_cpu_blocks="None"} 1.0
"""


def cache_line(**labels: str) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"vllm:cache_config_info{{{inside}}} 1.0\n"


def test_a_page_of_vllm() -> None:
    assert engine_facts(PAGE) == EngineFacts(16_000, ("fp8_e4m3",), ("org/model",))


def test_engines_behind_one_address_add_up() -> None:
    page = "".join(
        cache_line(engine=engine, block_size="16", num_gpu_blocks=blocks, cache_dtype=dtype)
        for engine, blocks, dtype in (("0", "101", "auto"), ("1", "201", "fp8"))
    )

    assert engine_facts(page) == EngineFacts(4_800, ("auto", "fp8"), ())


def test_an_engine_that_repeats_itself_counts_once() -> None:
    line = cache_line(engine="0", block_size="16", num_gpu_blocks="101", cache_dtype="auto")

    assert engine_facts(line + line) == EngineFacts(1_600, ("auto",), ())


def test_a_capacity_is_not_told_while_one_engine_is_still_measuring() -> None:
    page = cache_line(engine="0", block_size="16", num_gpu_blocks="101") + cache_line(
        engine="1", block_size="16", num_gpu_blocks="None"
    )

    facts = engine_facts(page + 'vllm:num_requests_running{model_name="m"} 0\n')

    assert facts == EngineFacts(None, (), ("m",))


def test_absurd_figures_are_left_out() -> None:
    for blocks, size in (("1" * 40, "16"), ("99999999999", "99"), ("-5", "16"), ("1", "16")):
        facts = engine_facts(
            cache_line(engine="0", block_size=size, num_gpu_blocks=blocks, cache_dtype="auto")
        )
        assert facts == EngineFacts(None, ("auto",), ())


def test_a_page_of_something_else_says_nothing() -> None:
    assert engine_facts("<html></html>") is None
    assert engine_facts("") is None


def test_names_are_whole_and_at_the_beginning_of_a_line() -> None:
    page = 'x vllm:a 1\nvllm:a_total 2\nvllm:a 3\n# HELP vllm:a 4\nvllm:a{b="c"} 5 1700000000\n'

    assert [(dict(s.labels), s.value) for s in samples(page, "vllm:a")] == [
        ({}, 3.0),
        ({"b": "c"}, 5.0),
    ]


def test_escapes_and_braces_in_labels() -> None:
    (sample,) = samples('m{a="x\\"y\\\\z\\n}",b="{1}"} 2\n', "m")

    assert sample.labels == {"a": 'x"y\\z\n}', "b": "{1}"}
    assert sample.value == 2


def test_models_that_cannot_be_shown_are_left_out() -> None:
    page = "".join(
        f'vllm:num_requests_running{{model_name="{name}"}} 0\n'
        for name in ("good", "x" * 600, "bad\\n", "")
    )

    facts = engine_facts(page)

    assert facts is not None
    assert facts.models == ("good",)


@given(st.text(alphabet='vlm:cache_config_info{}="\\\n ,0123456789engine', max_size=400))
def test_no_page_breaks_it(page: str) -> None:
    facts = engine_facts(page)

    assert facts is None or facts != EngineFacts()
