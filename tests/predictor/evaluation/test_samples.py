"""Reading anybody's JSON Lines: what is understood, and what is said about what is not."""

import json
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from alise_predictor.evaluation.samples import SampleError, Samples, decode, read
from alise_predictor.request import from_body, from_prompt

NOTHING = BytesIO()
GOOD: dict[str, Any] = {"prompt": "Say hello", "model": "m", "output_tokens": 3}

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


def test_a_prompt_is_seen_as_when_serving() -> None:
    sample = decode(_line(max_tokens=16, system="Be brief"), "f line 1")

    assert sample.request == from_prompt("Say hello", "m", system="Be brief", max_tokens=16)
    assert sample.output_tokens == 3
    assert sample.tenant == ""
    assert sample.timestamp is None


def test_a_conversation_is_seen_as_when_serving() -> None:
    body = {
        "messages": [
            {"role": "system", "content": "Be brief"},
            {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
            {"role": "assistant", "content": "Hi"},
            {"role": "user", "content": "Weather?"},
        ],
        "tools": [{"type": "function"}],
        "response_format": {"type": "json_object"},
    }

    sample = decode(_line(**body, prompt=None, tenant="acme"), "f line 1")

    assert sample.request == from_body(body, "m")
    assert sample.request.turns == 3
    assert sample.request.json_mode
    assert sample.tenant == "acme"


@pytest.mark.parametrize(
    ("given_time", "seconds"),
    [
        (12, 12.0),
        (12.5, 12.5),
        ("1970-01-01T00:01:00", 60.0),
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T02:01:00+02:00", 60.0),
    ],
)
def test_times_are_seconds_or_iso_8601(given_time: object, seconds: float) -> None:
    assert decode(_line(timestamp=given_time), "f line 1").timestamp == seconds


@pytest.mark.parametrize(
    ("limit", "is_censored"), [(None, False), (4, False), (3, True), (2, True)]
)
def test_an_answer_that_reached_its_limit_is_censored(limit: int | None, is_censored: bool) -> None:
    assert decode(_line(max_tokens=limit), "f line 1").is_censored is is_censored


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": None}, "needs a field 'prompt' or 'messages'"),
        ({"prompt": ["a secret"]}, "field 'prompt' must be a string"),
        ({"messages": "a secret"}, "field 'messages' must be a list of objects"),
        ({"messages": ["a secret"]}, "field 'messages' must be a list of objects"),
        ({"model": None}, "field 'model' is null; it must be a string that is not empty"),
        ({"model": ""}, "field 'model' is \"\"; it must be a string that is not empty"),
        ({"output_tokens": "3"}, "field 'output_tokens' is \"3\"; it must be a whole number"),
        ({"output_tokens": 3.0}, "field 'output_tokens' is 3.0; it must be a whole number"),
        ({"output_tokens": True}, "field 'output_tokens' is true; it must be a whole number"),
        ({"output_tokens": -1}, "is -1; it must be between 0 and 10,000,000"),
        ({"output_tokens": 10**12}, "is 1000000000000; it must be between 0 and 10,000,000"),
        ({"max_tokens": 0}, "field 'max_tokens' is 0; it must be between 1 and"),
        ({"tenant": 5}, "field 'tenant' is 5; it must be a string"),
        ({"timestamp": "yesterday"}, 'is "yesterday"; it must be seconds or ISO 8601'),
        ({"timestamp": float("inf")}, "it must be seconds or ISO 8601"),
        ({"timestamp": []}, "field 'timestamp' is a list; it must be seconds or ISO 8601"),
        ({"tools": {"a secret": 1}}, "field 'tools' is an object; it must be a list"),
        ({"system": 3}, "field 'system' is 3; it must be a string or a list of parts"),
        ({"response_format": "json"}, "field 'response_format' is \"json\"; it must be an object"),
        ({"model": ["x"] * 50}, "field 'model' is a list"),
        ({"tenant": {"a": 1}}, "field 'tenant' is an object"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SampleError) as caught:
        decode(_line(**fields), "f.jsonl line 7")

    assert str(caught.value).startswith("f.jsonl line 7: ")
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["model", "output_tokens"])
def test_a_missing_field_is_named(name: str) -> None:
    body = {key: value for key, value in GOOD.items() if key != name}

    with pytest.raises(SampleError, match=f"line 1: field '{name}' is missing; it must be"):
        decode(json.dumps(body).encode(), "f line 1")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "is no JSON"),
        (b"[1]", "must be a JSON object, not a list"),
        (b'"words"', 'must be a JSON object, not "words"'),
        (b'{"prompt": "\xff"}', "is not UTF-8 (byte 12)"),
        (b"[" * 100_000, "nested too deep"),
        (b"1" * 5_000, "a number too long"),
    ],
    ids=["cut", "list", "string", "latin-1", "deep", "long-number"],
)
def test_what_is_no_object_is_refused(line: bytes, message: str) -> None:
    with pytest.raises(SampleError) as caught:
        decode(line, "f line 1")

    assert message in str(caught.value)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from([*GOOD, "messages", "tools", "timestamp"]), values))
def test_any_object_is_a_sample_or_an_error(body: dict[str, Any]) -> None:
    try:
        sample = decode(json.dumps({**GOOD, **body}).encode(), "f line 1")
    except SampleError:
        return
    assert 0 <= sample.output_tokens <= 10_000_000


@given(st.binary(max_size=60))
def test_any_bytes_are_a_sample_or_an_error(line: bytes) -> None:
    try:
        decode(line, "f line 1")
    except SampleError:
        return


def test_lines_keep_their_order_and_blank_ones_do_not_count(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + _line(output_tokens=1) + b"\r\n\n" + _line(output_tokens=2))

    assert _lengths(read(file, NOTHING)) == [1, 2]


def test_a_bad_line_is_named_with_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_bytes(b"\n".join([_line(), b"", _line(output_tokens=None)]))

    with pytest.raises(SampleError) as caught:
        read(file, NOTHING)

    assert str(caught.value) == (
        f"{file} line 3: field 'output_tokens' is null; it must be a whole number; "
        "repair the line or pass --skip-bad"
    )


def test_bad_lines_can_be_skipped_and_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_bytes(b"\n".join([b"{", _line(output_tokens=1), b"[]", _line(output_tokens=2)]))

    found = read(file, NOTHING, skip_bad=True)

    assert _lengths(found) == [1, 2]
    assert [error.split(":")[0] for error in found.errors] == [f"{file} line 1", f"{file} line 3"]


def test_a_compressed_file_of_several_frames_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl.zst"
    frames = [
        zstandard.compress(_line(output_tokens=1) + b"\n"),
        zstandard.compress(_line(output_tokens=2)),
    ]
    file.write_bytes(b"".join(frames))

    assert _lengths(read(file, NOTHING)) == [1, 2]


def test_a_file_that_is_not_compressed_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl.zst"
    file.write_bytes(_line())

    with pytest.raises(SampleError, match="cannot decompress"):
        read(file, NOTHING)


def test_compressed_files_need_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "requests.jsonl.zst"
    file.write_bytes(b"")
    monkeypatch.setitem(sys.modules, "zstandard", None)

    with pytest.raises(SampleError, match=r"pip install 'alise\[train\]'"):
        read(file, NOTHING)


def test_a_dash_is_standard_input() -> None:
    assert _lengths(read(Path("-"), BytesIO(_line(output_tokens=5)))) == [5]
    with pytest.raises(SampleError, match=r"^standard input line 1: "):
        read(Path("-"), BytesIO(b"{"))


@pytest.mark.parametrize("name", ["absent.jsonl", "absent.jsonl.zst", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(SampleError, match=r"cannot read .*(No such file|Is a directory)"):
        read(tmp_path / name, NOTHING)


def _line(**fields: Any) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


def _lengths(samples: Samples) -> list[int]:
    return [sample.output_tokens for sample in samples.rows]
