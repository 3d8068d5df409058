import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.errors import ConfigError
from alise_vllm.lengths import LengthTable, RecordedLength, parse_lengths, prompt_key

TOKEN_IDS = st.lists(st.integers(0, 2**32 - 1), max_size=50)
KEY = prompt_key([1, 2, 3])


def test_key_is_over_little_endian_32_bit_numbers() -> None:
    assert prompt_key([1, 258]) == hashlib.sha256(bytes([1, 0, 0, 0, 2, 1, 0, 0])).hexdigest()


@pytest.mark.slow
@given(TOKEN_IDS, TOKEN_IDS)
def test_only_the_same_prompt_has_the_same_key(one: list[int], other: list[int]) -> None:
    assert (prompt_key(one) == prompt_key(tuple(other))) == (one == other)


@pytest.mark.slow
@given(st.lists(st.builds(RecordedLength, TOKEN_IDS.map(prompt_key), st.integers(1, 2**31))))
def test_what_is_written_is_read_again(rows: list[RecordedLength]) -> None:
    assert list(parse_lengths([row.line() + "\n" for row in rows], "lengths.jsonl")) == rows


def test_a_repeated_prompt_takes_its_rows_in_turn_and_starts_over() -> None:
    other = prompt_key([9])
    table = LengthTable([RecordedLength(*row) for row in ((KEY, 5), (other, 70), (KEY, 6))])

    assert [table.take(KEY) for _ in range(5)] == [5, 6, 5, 6, 5]
    assert [table.take(other) for _ in range(2)] == [70, 70]
    assert len(table) == 3


def test_a_prompt_that_was_not_recorded_has_no_length() -> None:
    assert LengthTable([]).take(KEY) is None


def test_other_fields_and_empty_lines_are_left_alone() -> None:
    line = json.dumps({"id": "a/1", "prompt_sha256": KEY, "output_tokens": 4})

    assert list(parse_lengths(["", line, " \n"], "x")) == [RecordedLength(KEY, 4)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "no valid JSON"),
        ("[" * 100_000, "no valid JSON"),
        ("[]", "no JSON object"),
        ("{}", "'prompt_sha256'"),
        (f'{{"prompt_sha256": "{KEY.upper()}", "output_tokens": 1}}', "'prompt_sha256'"),
        ('{"prompt_sha256": 7, "output_tokens": 1}', "'prompt_sha256'"),
        (f'{{"prompt_sha256": "{KEY}"}}', "'output_tokens'"),
        (f'{{"prompt_sha256": "{KEY}", "output_tokens": 0}}', "'output_tokens'"),
        (f'{{"prompt_sha256": "{KEY}", "output_tokens": true}}', "'output_tokens'"),
        (f'{{"prompt_sha256": "{KEY}", "output_tokens": 2.5}}', "'output_tokens'"),
    ],
)
def test_a_wrong_line_is_named(line: str, said: str) -> None:
    good = RecordedLength(KEY, 4).line()

    with pytest.raises(ConfigError) as caught:
        list(parse_lengths([good, line], "lengths.jsonl"))

    message = str(caught.value)
    assert message.startswith("lengths.jsonl, line 2: ")
    assert said in message
    assert '"output_tokens": 1 or more' in message
    assert "\n" not in message
