"""Single-answer instruction sets, in the shapes in which they are published."""

from collections.abc import Callable
from pathlib import Path

import pytest

from alise_predictor.train.dataset import source_instructions as instructions
from alise_predictor.train.dataset.errors import MalformedDataError
from alise_predictor.train.dataset.raw import RawSource

ALPACA = ("alpaca_5000.json", instructions.load_alpaca, "output")
CODE = ("code_alpaca_2k.json.zst", instructions.load_codealpaca, "output")
TEACHER = ("codegen-instruct.json.zst", instructions.load_gpteacher_code, "response")
ROLE = (
    "roleplay-simple-deduped-roleplay-instruct.json",
    instructions.load_gpteacher_role,
    "response",
)
TOOL = ("toolformer-dedupe-only-dataset.json", instructions.load_gpteacher_tool, "response")


@pytest.mark.parametrize(("name", "load", "answer"), [ALPACA, CODE, TEACHER, ROLE, TOOL])
def test_material_stands_below_the_task_after_a_blank_line(
    tmp_path: Path,
    write_list: Callable[..., Path],
    name: str,
    load: Callable[[Path], RawSource],
    answer: str,
) -> None:
    rows = [
        {"instruction": "Sort. ", "input": "2 1", answer: "1 2"},
        {"instruction": "Say hello.", "input": "", answer: "Hello."},
    ]
    write_list(tmp_path / name, rows)
    source = load(tmp_path)
    assert [p.request.prompt for p in source.prompts] == [b"Sort.\n\n2 1", b"Say hello."]
    assert list(source.blocks[0].texts or ()) == ["1 2", "Hello."]
    assert all(prompt.request.model == "" for prompt in source.prompts)


def test_equal_prompts_are_one_prompt_with_several_samples(
    tmp_path: Path, write_list: Callable[..., Path]
) -> None:
    rows = [{"instruction": text, "input": "", "output": "x"} for text in ("a", "b", "a")]
    write_list(tmp_path / "alpaca_5000.json", rows)
    source = instructions.load_alpaca(tmp_path)
    assert len(source.prompts) == 2
    assert source.blocks[0].prompts.tolist() == [0, 1, 0]
    assert source.blocks[0].samples.tolist() == [0, 0, 1]


def test_halueval_holds_lines_and_stops_at_256_tokens(
    tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    rows = [{"ID": "1", "user_query": "List words.", "chatgpt_response": "the, a"}]
    write_lines(tmp_path / "general_data.json.zst", rows)
    source = instructions.load_halueval(tmp_path)
    assert source.prompts[0].request.prompt == b"List words."
    assert source.blocks[0].censored_from == 256


def test_an_element_without_an_answer_is_named(
    tmp_path: Path, write_list: Callable[..., Path]
) -> None:
    write_list(tmp_path / "alpaca_5000.json", [{"instruction": "a", "input": ""}])
    with pytest.raises(
        MalformedDataError, match=r"alpaca_5000\.json, element 0: 'output' is absent"
    ):
        instructions.load_alpaca(tmp_path)
