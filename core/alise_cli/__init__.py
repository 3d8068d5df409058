"""``alise``: one command that finds its subcommands in the packages that are installed.

Each subcommand is a function ``(arguments) -> exit code`` in its own package and is imported
only when it is called, so that ``alise sim-engine`` does not pay for the gateway and an image
without an extra says which one is missing.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from alise_core.errors import AliseError


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand: where it lives and what it needs."""

    target: str
    """``module:function``; the function takes the remaining arguments."""
    extra: str
    summary: str


COMMANDS: dict[str, Command] = {
    "gateway": Command(
        "alise_gateway.cli:main", "gateway", "serve the OpenAI-compatible edge gateway"
    ),
    "operator": Command(
        "alise_operator.cli:main", "operator", "keep statuses of custom resources, tune engines"
    ),
    "keys": Command(
        "alise_gateway.identity.cli:main", "gateway", "create and hash API keys for the keys file"
    ),
    "predictor": Command(
        "alise_predictor.cli:main", "predictor", "train, evaluate and ask the length predictor"
    ),
    "sim-engine": Command("alise_bench.sim.cli:main", "bench", "serve a simulated vLLM engine"),
    "bench": Command(
        "alise_bench.cli:main", "bench", "measure: compare, queue, overhead, predictor"
    ),
    "crds": Command(
        "alise_cli.crds:main", "operator", "print the custom resource definitions for kubectl"
    ),
    "demo": Command("alise_bench.demo.cli:main", "bench", "gateway, two engines and a real load"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; the console script's entry point.

    Returns: The exit code: 0 only on success, 2 for wrong usage or configuration.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in {"-h", "--help", "help"}:
        _print(_usage())
        return 0 if words else 2
    if words[0] in {"-V", "--version"}:
        _print(f"alise {_version()}")
        return 0
    command = COMMANDS.get(words[0])
    if command is None:
        _fail(f"unknown command {words[0]!r}; one of: {', '.join(COMMANDS)}")
        return 2
    return _run(words[0], command, words[1:])


def _run(name: str, command: Command, arguments: list[str]) -> int:
    module, _, function = command.target.partition(":")
    try:
        run = cast("Callable[[list[str]], int]", getattr(importlib.import_module(module), function))
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("alise_"):
            raise
        _fail(
            f"'alise {name}' needs the Python package {error.name!r}: "
            f"pip install 'alise[{command.extra}]'"
        )
        return 2
    try:
        return run(arguments)
    except AliseError as error:
        _fail(str(error))
        return 2
    except KeyboardInterrupt:
        return 130


def _usage() -> str:
    width = max(len(name) for name in COMMANDS)
    rows = "\n".join(f"  {name:<{width}}  {item.summary}" for name, item in COMMANDS.items())
    return f"usage: alise COMMAND [--help]\n\ncommands:\n{rows}"


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415  slow, and rarely asked for

    return version("alise")


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _fail(text: str) -> None:
    sys.stderr.write(f"alise: {text}\n")
