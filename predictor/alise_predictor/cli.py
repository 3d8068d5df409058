"""``alise predictor``: train, evaluate, export, ask and look at length predictors.

Nothing heavy is imported before it is asked for: serving a prediction needs ONNX Runtime, training
needs torch, and ``--help`` needs neither.

What trains lies in ``alise_predictor.train.commands``: ``train``, ``evaluate_all`` and ``export``
take the parsed flags and return the exit code; ``add_train_arguments``, ``add_evaluate_arguments``
and ``add_export_arguments`` put their flags on a parser. Where torch is missing and ``make train``
has made an environment that has it, these commands run there.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

from alise_core import errors
from alise_core.errors import ConfigError

_TRAINING = "alise_predictor.train.commands"
_TARGETS = {"train": "train", "evaluate --all": "compare"}
"""Commands to the make targets that bring what they need along."""


@dataclass(frozen=True, slots=True)
class _Command:
    run: Callable[[list[str]], int]
    extra: str
    summary: str


def main(arguments: list[str]) -> int:
    """Run one of the commands; the exit code is 0 only on success.

    Raises:
        AliseError: A file, bundle or flag is wrong, or a Python package is missing.
    """
    if not arguments or arguments[0] in {"-h", "--help"}:
        sys.stdout.write(_usage())
        return 0 if arguments else 2
    name, words = arguments[0], arguments[1:]
    command = _COMMANDS.get(name)
    if command is None:
        raise ConfigError(f"predictor: unknown command {name!r}; one of: {', '.join(_COMMANDS)}")
    try:
        return command.run(words)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("alise_"):
            raise
        extra = "train" if "--all" in words else command.extra
        python = training_python() if extra == "train" else None
        if python is not None:
            return _run_there(python, arguments)
        target = _TARGETS.get("evaluate --all" if "--all" in words else name)
        checkout = f"; in a checkout: make {target}" if target else ""
        raise ConfigError(
            f"'alise predictor {name}' needs the Python package {error.name!r}: "
            f"pip install 'alise[{extra}]'{checkout}"
        ) from error


def training_python() -> Path | None:
    """The Python of the training environment that ``make train`` has made for this one."""
    link = Path(sys.prefix, "train-python")
    if not link.is_file():
        return None
    python = Path(link.read_text(encoding="utf-8").strip())
    return python if python.is_file() and python != Path(sys.executable) else None


def _run_there(python: Path, arguments: list[str]) -> int:
    """The same command with the same sources in another environment."""
    sources = sorted({str(Path(file).parents[1]) for file in (__file__, errors.__file__)})
    begin = f"import sys; sys.path[:0] = {sources!r}; from alise_cli import main; "
    code = f"{begin}sys.exit(main({['predictor', *arguments]!r}))"
    return subprocess.call([str(python), "-c", code])  # noqa: S603  a Python of this checkout's


def _train(words: list[str]) -> int:
    commands = import_module(_TRAINING)
    parser = argparse.ArgumentParser(
        prog="alise predictor train",
        description="Train a length predictor on the data sets of a directory.",
    )
    commands.add_train_arguments(parser)
    return cast("int", commands.train(parser.parse_args(words)))


def _export(words: list[str]) -> int:
    commands = import_module(_TRAINING)
    parser = argparse.ArgumentParser(
        prog="alise predictor export",
        description="Make a bundle for serving out of what was trained.",
    )
    commands.add_export_arguments(parser)
    return cast("int", commands.export(parser.parse_args(words)))


def _evaluate(words: list[str]) -> int:
    if "--all" not in words:
        from alise_predictor.evaluation.evaluate_cli import run  # noqa: PLC0415  see the module

        return run(words)
    commands = import_module(_TRAINING)
    parser = argparse.ArgumentParser(
        prog="alise predictor evaluate --all",
        description="Compare all candidates on all data sets of a directory.",
    )
    parser.add_argument("--all", action="store_true", help="every candidate, every data set")
    commands.add_evaluate_arguments(parser)
    return cast("int", commands.evaluate_all(parser.parse_args(words)))


def _predict(words: list[str]) -> int:
    from alise_predictor.evaluation.predict_cli import run  # noqa: PLC0415  see the module

    return run(words)


def _inspect(words: list[str]) -> int:
    from alise_predictor.evaluation.memory import resident_bytes  # noqa: PLC0415

    # What every process of ALISE holds anyway comes first; from here on it is the predictor's.
    import_module("pydantic")
    before = resident_bytes()
    from alise_predictor.evaluation.inspect_cli import run  # noqa: PLC0415  see the module

    return run(words, before)


def _usage() -> str:
    width = max(len(name) for name in _COMMANDS)
    rows = "\n".join(f"  {name:<{width}}  {item.summary}" for name, item in _COMMANDS.items())
    return f"usage: alise predictor COMMAND [--help]\n\ncommands:\n{rows}\n"


_COMMANDS: dict[str, _Command] = {
    "train": _Command(_train, "train", "train on the data sets of a directory"),
    "evaluate": _Command(
        _evaluate, "predictor", "figures on a file of finished requests, or --all"
    ),
    "export": _Command(_export, "train", "make a bundle for serving out of what was trained"),
    "predict": _Command(_predict, "predictor", "how long will the answer to this be?"),
    "inspect": _Command(_inspect, "predictor", "what a bundle is, and how fast it is here"),
}
