"""Single-answer instruction sets: Alpaca's shape, GPTeacher, HaluEval."""

from pathlib import Path

from alise_predictor.request import from_prompt
from alise_predictor.train.dataset.raw import RawSource, TextSource
from alise_predictor.train.dataset.readers import Row, find, read_lines, read_list

_HALUEVAL_CAP = 256
"""Answers stop at exactly 256 cl100k_base tokens, which are ChatGPT's own."""


def load_alpaca(folder: Path) -> RawSource:
    """5,000 Alpaca instructions answered by text-davinci-003."""
    return _load(folder, "alpaca_5000.json", "output", "text-davinci-003")


def load_codealpaca(folder: Path) -> RawSource:
    """2,017 Code Alpaca instructions answered by text-davinci-003."""
    return _load(folder, "code_alpaca_2k.json", "output", "text-davinci-003")


def load_gpteacher_code(folder: Path) -> RawSource:
    """GPTeacher's programming tasks answered by GPT-4."""
    return _load(folder, "codegen-instruct.json", "response", "gpt-4")


def load_gpteacher_role(folder: Path) -> RawSource:
    """GPTeacher's role play answered by GPT-4."""
    return _load(folder, "roleplay-simple-deduped-roleplay-instruct.json", "response", "gpt-4")


def load_gpteacher_tool(folder: Path) -> RawSource:
    """GPTeacher's templated tool instructions answered by GPT-4."""
    return _load(folder, "toolformer-dedupe-only-dataset.json", "response", "gpt-4")


def load_halueval(folder: Path) -> RawSource:
    """Alpaca queries answered by ChatGPT; the file holds JSON lines in spite of its name."""
    source = TextSource()
    for row in read_lines(find(folder, "general_data.json")):
        prompt = source.prompt(row.text("ID"), from_prompt(row.text("user_query"), ""))
        source.answer(prompt, "chatgpt", row.text("chatgpt_response"))
    return source.finish({"chatgpt": _HALUEVAL_CAP})


def _load(folder: Path, name: str, answer: str, model: str) -> RawSource:
    source = TextSource()
    for number, row in enumerate(read_list(find(folder, name))):
        prompt = source.prompt(str(number), from_prompt(_join(row), ""))
        source.answer(prompt, model, row.text(answer))
    return source.finish()


def _join(row: Row) -> str:
    # A user pastes the material below the task; a blank line is what stands between them.
    instruction, material = row.text("instruction").strip(), row.text("input").strip()
    return f"{instruction}\n\n{material}" if material else instruction
