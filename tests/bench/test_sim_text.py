import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_bench.sim.api.outputs import as_tool_call, chooses_tool, plain, with_stop
from alise_bench.sim.lengths import (
    Lengths,
    ReplayTable,
    conversation_key,
    load_replay,
    prompt_key,
)
from alise_bench.sim.sequence import FinishReason
from alise_bench.sim.text import END_OF_TEXT, WORDS, encode, sampler, seed_of, word
from alise_core.errors import ConfigError


@given(st.text())
def test_any_text_has_tokens_and_the_same_ones_each_time(text: str) -> None:
    ids = encode(text)
    assert ids
    assert ids == encode(text)
    assert len(ids) <= max(1, len(text))


def test_the_empty_prompt_is_one_token() -> None:
    assert encode("") == (END_OF_TEXT,)


def test_every_output_word_is_one_token_with_the_sampled_id() -> None:
    sample = sampler(7)
    for index in range(200):
        assert encode(word(7, index)) == (sample(index),)
    assert len(set(WORDS)) > 80


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_quoting_output_in_a_prompt_gives_its_tokens_back(seed: int, count: int) -> None:
    text = "".join(word(seed, index) for index in range(count))
    sample = sampler(seed)
    assert encode(text) == tuple(sample(index) for index in range(count))


def test_english_has_about_four_characters_per_token() -> None:
    text = "Continuous batching decides anew in every step which sequences are computed. " * 5
    assert 3.5 < len(text) / len(encode(text)) < 5.5


@given(st.integers(1, 500), st.integers(1, 500), st.integers(0, 500), st.integers(0, 2**32 - 1))
def test_length_respects_limit_then_minimum_then_nature(
    natural: int, limit: int, minimum: int, seed: int
) -> None:
    output = plain(seed, natural, limit, min(minimum, limit))
    assert output.tokens == min(limit, max(natural, min(minimum, limit)))
    assert (output.finish is FinishReason.LENGTH) == (output.tokens == limit)


@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.integers(0, 20))
def test_a_stop_string_never_appears_in_the_output(tokens: int, seed: int, minimum: int) -> None:
    output = plain(seed, tokens, 1000)
    words = output.whole.split()
    if words:
        stopped = with_stop(output, [words[len(words) // 2]], 0)
        assert words[len(words) // 2] not in stopped.whole
        assert output.whole.startswith(stopped.whole)
        assert stopped.tokens <= output.tokens
        assert with_stop(output, [words[0]], minimum).tokens >= min(minimum, output.tokens)
    assert with_stop(output, ["not a word of the list"]) is output


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_complete_tool_call_is_json_of_exactly_its_tokens(tokens: int, seed: int) -> None:
    call = as_tool_call(plain(seed, tokens, 1000), {"name": "f"})
    assert set(json.loads(call.whole)) == {"input"}
    assert call.tokens == tokens
    assert call.tool == "f"


def test_a_cut_tool_call_is_incomplete() -> None:
    call = as_tool_call(plain(1, 50, 5), {"name": "f"})
    assert call.finish is FinishReason.LENGTH
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(call.whole)


def test_tool_choice() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in "ab"]
    assert chooses_tool([], "required", 1, 1.0) is None
    assert chooses_tool(tools, "none", 1, 1.0) is None
    assert chooses_tool(tools, "auto", 1, 0.0) is None
    assert chooses_tool(tools, None, 1, 1.0) in ({"name": "a"}, {"name": "b"})
    assert chooses_tool(tools, {"function": {"name": "b"}}, 1, 0.0) == {"name": "b"}
    with pytest.raises(LookupError):
        chooses_tool(tools, {"function": {"name": "c"}}, 1, 0.0)


def test_replay_takes_the_first_known_key_and_repeats_rows_in_turn() -> None:
    table = ReplayTable()
    for tokens in (3, 5):
        table.add("k", tokens)
    lengths = Lengths(table)
    assert [lengths.natural(["unknown", "k"], 0) for _ in range(4)] == [3, 5, 3, 5]
    assert len(table) == 2


def test_unknown_prompts_draw_from_the_distribution_by_seed_alone() -> None:
    lengths = Lengths(median_tokens=100, sigma=0.5)
    drawn = sorted(lengths.natural([], seed_of(n)) for n in range(2001))
    assert lengths.natural([], 5) == lengths.natural(["x"], 5)
    assert 90 < drawn[1000] < 110
    assert 1.5 < drawn[1682] / drawn[1000] < 1.8, "one sigma is a factor of 1.65"


def test_a_replay_file_names_prompts_hashes_and_conversations(tmp_path: Path) -> None:
    path = tmp_path / "replay.jsonl"
    rows = [
        {"prompt": "p", "output_tokens": 1},
        {"prompt_sha256": prompt_key("q"), "output_tokens": 2},
        {"messages": [{"role": "user", "content": "r"}], "output_tokens": 3},
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    lengths = Lengths(load_replay(path))
    keys = [prompt_key("p"), prompt_key("q"), conversation_key([("user", "r")])]
    assert [lengths.natural([key], 0) for key in keys] == [1, 2, 3]


@pytest.mark.parametrize(
    "line",
    ["{", '{"output_tokens": 3}', '{"prompt": "x"}', "3", '{"prompt":"x","output_tokens":0}'],
)
def test_a_wrong_replay_row_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "replay.jsonl"
    path.write_text(line)
    with pytest.raises(ConfigError, match="output_tokens"):
        load_replay(path)


def test_a_missing_replay_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_replay(tmp_path / "none")
