"""Prompts with several models' full answers, in the shapes in which they are published."""

from collections.abc import Callable
from pathlib import Path

import pytest

from alise_predictor.train.dataset import source_chats as chats
from alise_predictor.train.dataset.errors import MalformedDataError
from alise_predictor.train.dataset.raw import RawSource


def _answers(source: RawSource) -> list[tuple[str, str, str]]:
    """(model, prompt text, answer) of all answers."""
    return [
        (block.model, source.prompts[prompt].request.prompt.decode(), text)
        for block in source.blocks
        for prompt, text in zip(block.prompts.tolist(), block.texts or (), strict=True)
    ]


def test_flask_joins_answers_by_question_and_leaves_out_the_unanswered(
    tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    questions = [{"idx": 1, "instruction": "one"}, {"idx": 2, "instruction": "two"}]
    write_lines(tmp_path / "flask_evaluation.jsonl.zst", questions)
    write_lines(tmp_path / "outputs" / "gpt4.jsonl.zst", [{"question_id": 2, "text": "B"}])
    write_lines(tmp_path / "outputs" / "bard.jsonl", [{"question_id": 2, "text": "C"}])
    source = chats.load_flask(tmp_path)
    assert _answers(source) == [("bard", "two", "C"), ("gpt4", "two", "B")]
    assert len(source.prompts) == 1


def test_an_answer_to_no_question_is_named(
    tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    write_lines(tmp_path / "flask_evaluation.jsonl", [{"idx": 1, "instruction": "one"}])
    write_lines(tmp_path / "outputs" / "gpt4.jsonl", [{"question_id": 7, "text": "B"}])
    with pytest.raises(MalformedDataError, match=r"gpt4\.jsonl, line 1: 'question_id' 7"):
        chats.load_flask(tmp_path)


def test_a_set_without_answers_is_refused(tmp_path: Path, write_lines: Callable[..., Path]) -> None:
    write_lines(tmp_path / "flask_evaluation.jsonl", [{"idx": 1, "instruction": "one"}])
    with pytest.raises(MalformedDataError, match="no such file; restore the answers"):
        chats.load_flask(tmp_path)


def test_vicuna_marks_the_limit_of_the_runs_that_state_one(
    tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    write_lines(tmp_path / "question.jsonl", [{"question_id": 1, "text": "How?"}])
    for model in ("bard", "vicuna-13b"):
        write_lines(tmp_path / f"answer_{model}.jsonl", [{"question_id": 1, "text": "So."}])
    source = chats.load_vicuna(tmp_path)
    assert _answers(source) == [("bard", "How?", "So."), ("vicuna-13b", "How?", "So.")]
    assert [block.censored_from for block in source.blocks] == [None, 768]


def test_autoj_has_two_answers_by_models_it_does_not_name(
    tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    row = {"scenario": "x", "label": 0, "prompt": "P", "response 1": "A", "response 2": "B"}
    write_lines(tmp_path / "testdata_pairwise.jsonl.zst", [row])
    source = chats.load_autoj(tmp_path)
    assert _answers(source) == [("anonymous", "P", "A"), ("anonymous", "P", "B")]
    assert source.blocks[0].samples.tolist() == [0, 1]


def test_tulu_counts_an_answer_once_though_it_is_in_several_pairs(
    tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    def pair(*models: str) -> dict[str, object]:
        return {
            "id": "task_1",
            "prompt": "Rewrite.\n",
            "completions": [{"model": name, "completion": name.upper()} for name in models],
        }

    write_lines(tmp_path / "eval_instances_tulu_1.jsonl.zst", [pair("a", "b"), pair("a", "c")])
    source = chats.load_tulu(tmp_path)
    expected = [("a", "Rewrite.", "A"), ("b", "Rewrite.", "B"), ("c", "Rewrite.", "C")]
    assert _answers(source) == expected


def test_gsm8k_has_the_whole_solution_of_four_runs(
    tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    runs = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
    row: dict[str, object] = {"question": "How many?", "ground_truth": "no answer of a model"}
    row |= {run: {"is_correct": True, "solution": f"by {run}"} for run in runs}
    path = write_lines(tmp_path / "example_model_solutions.jsonl.zst", [row])
    assert _answers(chats.load_gsm8k(tmp_path)) == [
        (f"gpt3-{run}", "How many?", f"by {run}") for run in runs
    ]
    write_lines(path, [row | {"6b_verification": "text"}])
    with pytest.raises(MalformedDataError, match="line 1: '6b_verification' is not an object"):
        chats.load_gsm8k(tmp_path)
