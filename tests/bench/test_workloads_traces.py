import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_bench.workloads.traces import TraceRow, estimate_tokens, read_trace, write_trace
from alise_core.errors import ConfigError

LINE = {"arrival_s": 1.5, "prompt": "Why is the sky blue?", "output_tokens": 12}


def write(folder: Path, *lines: object) -> Path:
    path = folder / "trace.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def test_a_minimal_line_is_a_request(tmp_path: Path) -> None:
    assert read_trace(write(tmp_path, LINE)) == [
        TraceRow(arrival_s=0.0, output_tokens=12, prompt_tokens=5, prompt=LINE["prompt"])  # type: ignore[arg-type]
    ]


def test_rows_come_by_time_and_start_at_zero(tmp_path: Path) -> None:
    later = LINE | {"arrival_s": 9, "prompt": "later"}
    same = LINE | {"prompt": "same time, after"}
    rows = read_trace(write(tmp_path, later, "", LINE, same))
    assert [row.arrival_s for row in rows] == [0.0, 0.0, 7.5]
    assert [row.prompt for row in rows] == [LINE["prompt"], "same time, after", "later"]


def test_everything_optional_is_kept_and_other_keys_are_passed_over(tmp_path: Path) -> None:
    full = {
        "arrival_s": 0,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "x" * 40}]}],
        "output_tokens": 1,
        "model": "m",
        "tenant": "t",
        "service_tier": "flex",
        "tools": [{"type": "function"}],
        "hash_ids": [1],
    }
    (row,) = read_trace(write(tmp_path, full))
    assert (row.model, row.tenant, row.service_tier) == ("m", "t", "flex")
    assert row.messages == tuple(full["messages"])  # type: ignore[arg-type]
    assert row.tools == ({"type": "function"},)
    assert row.prompt is None
    assert row.prompt_tokens == 10


def test_given_prompt_tokens_win_over_the_estimate(tmp_path: Path) -> None:
    (row,) = read_trace(write(tmp_path, LINE | {"prompt_tokens": 777}))
    assert row.prompt_tokens == 777


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not JSON"),
        ("[1]", "holds list, not an object"),
        ({"arrival_s": 0, "output_tokens": 1}, "neither prompt nor messages"),
        (LINE | {"messages": [{}]}, "both prompt and messages"),
        ({"arrival_s": 0, "output_tokens": 1, "messages": []}, "messages is [], not at least one"),
        ({"arrival_s": 0, "output_tokens": 1, "messages": "hi"}, "messages is str, not a list"),
        (LINE | {"prompt": ""}, "prompt is empty"),
        (LINE | {"prompt": ["secret"]}, "prompt is list"),
        (LINE | {"arrival_s": -1}, "arrival_s is -1, not a number of seconds >= 0"),
        (LINE | {"arrival_s": float("nan")}, "arrival_s is nan"),
        (LINE | {"arrival_s": float("inf")}, "arrival_s is inf"),
        (LINE | {"arrival_s": 10**400}, "arrival_s is 1000"),
        (LINE | {"arrival_s": True}, "arrival_s is True"),
        (LINE | {"arrival_s": "1"}, "arrival_s is '1'"),
        ({"prompt": "x", "output_tokens": 1}, "arrival_s is absent"),
        (LINE | {"output_tokens": 0}, "output_tokens is 0, not a whole number of tokens >= 1"),
        (LINE | {"output_tokens": 1.5}, "output_tokens is 1.5"),
        (LINE | {"output_tokens": True}, "output_tokens is True"),
        (LINE | {"prompt_tokens": -3}, "prompt_tokens is -3"),
        (
            LINE | {"service_tier": "gold"},
            "service_tier is 'gold', not one of auto, default, flex, priority, scale",
        ),
        (LINE | {"tenant": 7}, "tenant is 7, not a text"),
        (LINE | {"tools": [1]}, "tools is list, not a list of objects"),
    ],
)
def test_a_wrong_line_is_refused_with_its_place_and_remedy(
    tmp_path: Path, line: object, says: str
) -> None:
    path = write(tmp_path, LINE, line)
    with pytest.raises(ConfigError) as caught:
        read_trace(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line 2: ")
    assert says in message
    assert message.endswith(("correct or remove the line", "give exactly one of them"))
    assert "secret" not in message


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(b'{"prompt": "\xff\xff"}\n')
    with pytest.raises(ConfigError, match="line 1: not JSON \\(not UTF-8\\)"):
        read_trace(path)


def test_an_empty_or_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no request"):
        read_trace(write(tmp_path, "", " "))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_trace(tmp_path / "absent.jsonl")


texts = st.text(min_size=1, max_size=20)
rows = st.builds(
    TraceRow,
    arrival_s=st.floats(0, 1e6),
    output_tokens=st.integers(1, 10**6),
    prompt_tokens=st.integers(1, 10**6),
    prompt=texts,
    model=st.none() | texts,
    tenant=st.none() | texts,
    service_tier=st.sampled_from([None, "auto", "flex"]),
    tools=st.sampled_from([(), ({"type": "function"},)]),
    source=st.none() | texts,
    prefix_group=st.none() | texts,
)


@pytest.mark.slow
@given(st.lists(rows, min_size=1, max_size=5))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, written: list[TraceRow]
) -> None:
    path = tmp_path_factory.mktemp("traces") / "t.jsonl"
    write_trace(path, written)
    start = min(row.arrival_s for row in written)
    expected = sorted(written, key=lambda row: row.arrival_s)
    read = read_trace(path)
    assert [row.arrival_s for row in read] == [row.arrival_s - start for row in expected]
    assert [(row.prompt, row.tenant, row.tools) for row in read] == [
        (row.prompt, row.tenant, row.tools) for row in expected
    ]


@pytest.mark.parametrize(("text", "tokens"), [("", 1), ("abcd", 1), ("abcde", 2), ("éé", 1)])
def test_tokens_are_estimated_from_bytes(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens
