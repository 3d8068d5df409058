"""One's own measured requests: the documented lines are read, others are named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from alise_predictor.train.dataset.errors import MalformedDataError
from alise_predictor.train.dataset.parts import lengths
from alise_predictor.train.dataset.source_own import load_own

LINE = {"prompt": "Hi", "model": "m", "output_tokens": 3}


def test_a_line_becomes_a_prompt_and_an_answer(
    tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    line = LINE | {"tenant": "t", "timestamp": 5, "max_tokens": 9, "source": "chat"}
    write_lines(tmp_path / "a.jsonl", [line])
    source = load_own(tmp_path)
    (prompt,) = source.prompts
    assert (prompt.source, prompt.tenant, prompt.timestamp_s) == ("own:chat", "t", 5.0)
    assert (prompt.request.prompt, prompt.request.max_tokens) == (b"Hi", 9)
    assert (source.blocks[0].model, lengths(source.blocks[0]).tolist()) == ("m", [3])


def test_messages_are_read_as_the_gateway_reads_them(
    tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Two"},
        {"role": "user", "content": "Three"},
    ]
    write_lines(tmp_path / "a.jsonl", [{"messages": messages, "model": "m", "output_tokens": 1}])
    request = load_own(tmp_path).prompts[0].request
    assert (request.system, request.prompt, request.turns) == (b"Be brief.", b"Three", 3)
    assert request.model == ""


def test_equal_prompts_stay_apart_and_files_are_read_in_order(
    tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    write_lines(tmp_path / "b.jsonl.zst", [LINE])
    write_lines(tmp_path / "a.jsonl", [LINE, LINE])
    source = load_own(tmp_path)
    assert [prompt.key for prompt in source.prompts] == ["a.jsonl:0", "a.jsonl:1", "b.jsonl.zst:2"]
    assert {prompt.source for prompt in source.prompts} == {"own"}


def test_an_answer_that_reached_max_tokens_is_censored(
    tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    lines = [LINE | {"max_tokens": limit} for limit in (2, 3, 4)]
    write_lines(tmp_path / "a.jsonl", [*lines, LINE])
    assert load_own(tmp_path).blocks[0].censored.tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"prompt": None}, "needs either 'prompt'"),
        ({"prompt": 3}, "needs either 'prompt'"),
        ({"messages": []}, "needs either 'prompt'"),
        ({"model": None}, "'model' is absent"),
        ({"output_tokens": "3"}, "'output_tokens' is str"),
        ({"output_tokens": -1}, "'output_tokens' is int"),
        ({"tenant": 5}, "'tenant' is int"),
        ({"source": []}, "'source' is list"),
        ({"timestamp": "now"}, "'timestamp' is not a number"),
        ({"timestamp": True}, "'timestamp' is not a number"),
        ({"timestamp": float("nan")}, "'timestamp' is not a number"),
    ],
)
def test_a_malformed_line_is_named_without_its_prompt(
    tmp_path: Path, write_lines: Callable[..., Path], change: dict[str, object], problem: str
) -> None:
    write_lines(tmp_path / "a.jsonl", [LINE, LINE | {"prompt": "a secret"} | change])
    with pytest.raises(MalformedDataError, match=rf"a\.jsonl, line 2: {problem}.*remove") as caught:
        load_own(tmp_path)
    assert "secret" not in str(caught.value)
