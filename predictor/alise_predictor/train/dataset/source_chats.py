"""Prompts answered by several models, with the full answers: FLASK, Auto-J, Tulu, Vicuna, GSM8K."""

from pathlib import Path

from alise_predictor.request import from_prompt
from alise_predictor.train.dataset.errors import MalformedDataError
from alise_predictor.train.dataset.raw import CAP_SHARE, RawSource, TextSource
from alise_predictor.train.dataset.readers import Row, find, read_lines

_GSM8K_RUNS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
_VICUNA_CAPPED = ("alpaca-13b", "llama-13b", "vicuna-13b")
_VICUNA_CAP = 1024
"""``max_new_tokens`` in the metadata of three of the models' answers."""


def load_flask(folder: Path) -> RawSource:
    """FLASK's prompts and the answers of 15 models; prompts nobody answered are left out."""
    texts = {
        row.integer("idx"): row.text("instruction")
        for row in read_lines(find(folder, "flask_evaluation.jsonl"))
    }
    source = TextSource()
    for path in _answer_files(folder / "outputs", "*.jsonl*"):
        model = path.name.split(".jsonl")[0]
        for row in read_lines(path):
            _answer(source, texts, row, model)
    return source.finish()


def load_vicuna(folder: Path) -> RawSource:
    """The 80 questions of the Vicuna evaluation and the answers of seven models."""
    texts = {
        row.integer("question_id"): row.text("text")
        for row in read_lines(find(folder, "question.jsonl"))
    }
    source = TextSource()
    for path in _answer_files(folder, "answer_*.jsonl*"):
        model = path.name.removeprefix("answer_").split(".jsonl")[0]
        for row in read_lines(path):
            _answer(source, texts, row, model)
    return source.finish(dict.fromkeys(_VICUNA_CAPPED, int(CAP_SHARE * _VICUNA_CAP)))


def load_autoj(folder: Path) -> RawSource:
    """Auto-J's prompts with two answers each, by models which the set does not name."""
    source = TextSource()
    path = find(folder, "testdata_pairwise.jsonl")
    for number, row in enumerate(read_lines(path)):
        prompt = source.prompt(str(number), from_prompt(row.text("prompt"), ""))
        for name in ("response 1", "response 2"):
            source.answer(prompt, "anonymous", row.text(name))
    return source.finish()


def load_tulu(folder: Path) -> RawSource:
    """332 prompts; the file repeats a model's answer in every pair it was judged in."""
    source = TextSource()
    seen: set[tuple[int, str]] = set()
    for row in read_lines(find(folder, "eval_instances_tulu_1.jsonl")):
        prompt = source.prompt(row.text("id"), from_prompt(row.text("prompt").strip(), ""))
        for completion in row.rows("completions"):
            model = completion.text("model")
            if (prompt, model) not in seen:
                seen.add((prompt, model))
                source.answer(prompt, model, completion.text("completion"))
    return source.finish()


def load_gsm8k(folder: Path) -> RawSource:
    """GSM8K test questions with the solutions of four fine-tuned GPT-3 models, in full."""
    source = TextSource()
    path = find(folder, "example_model_solutions.jsonl")
    for number, row in enumerate(read_lines(path)):
        prompt = source.prompt(str(number), from_prompt(row.text("question"), ""))
        for run in _GSM8K_RUNS:
            solution = row.values.get(run)
            if not isinstance(solution, dict):
                raise row.malformed(f"{run!r} is not an object")
            text = Row(f"{row.place}, {run}", solution).text("solution")
            source.answer(prompt, f"gpt3-{run}", text)
    return source.finish()


def _answer_files(folder: Path, pattern: str) -> list[Path]:
    found = sorted(folder.glob(pattern))
    if not found:
        raise MalformedDataError(
            f"{folder / pattern}: no such file; restore the answers or remove the folder"
        )
    return found


def _answer(source: TextSource, texts: dict[int, str], row: Row, model: str) -> None:
    number = row.integer("question_id")
    text = texts.get(number)
    if text is None:
        raise row.malformed(f"'question_id' {number} is not among the questions")
    source.answer(source.prompt(str(number), from_prompt(text, "")), model, row.text("text"))
