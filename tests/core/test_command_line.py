"""``alise`` finds its subcommands, and says what is missing when it cannot."""

import sys
from collections.abc import Callable
from types import ModuleType

import pytest

import alise_cli
from alise_cli import COMMANDS, Command, main
from alise_core.errors import ConfigError

Run = Callable[[list[str]], int]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Run], None]:
    """Make ``alise probe`` run a function of the test's."""

    def put(run: Run) -> None:
        module = ModuleType("probe_command")
        module.main = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "probe_command", module)
        monkeypatch.setitem(COMMANDS, "probe", Command("probe_command:main", "bench", "probe"))

    return put


def test_no_command_shows_the_usage_and_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: alise COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["-h", "--help", "help"])
def test_help_lists_every_command(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 0
    shown = capsys.readouterr().out
    assert [name for name, item in COMMANDS.items() if f"  {name} " not in shown] == []
    assert [name for name, item in COMMANDS.items() if item.summary not in shown] == []


@pytest.mark.parametrize("word", ["-V", "--version"])
def test_version(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 0
    assert capsys.readouterr().out.startswith("alise 0.")


def test_unknown_command_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gatway"]) == 2
    message = capsys.readouterr().err
    assert "'gatway'" in message
    assert "gateway" in message


def test_arguments_and_exit_code_pass_through(install: Callable[[Run], None]) -> None:
    seen: list[list[str]] = []

    def run(arguments: list[str]) -> int:
        seen.append(arguments)
        return 7

    install(run)

    assert main(["probe", "--json", "help"]) == 7
    assert seen == [["--json", "help"]]


def test_arguments_default_to_those_of_the_process(
    install: Callable[[Run], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(len)
    monkeypatch.setattr(sys, "argv", ["alise", "probe", "a", "b", "c"])

    assert main() == 3


def test_our_errors_become_one_line_and_exit_code_2(
    install: Callable[[Run], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(arguments: list[str]) -> int:
        raise ConfigError("port: must be at most 65535 (got 70000)")

    install(run)

    assert main(["probe"]) == 2
    assert capsys.readouterr().err == "alise: port: must be at most 65535 (got 70000)\n"


def test_other_errors_are_not_swallowed(install: Callable[[Run], None]) -> None:
    def run(arguments: list[str]) -> int:
        raise RuntimeError("a bug")

    install(run)

    with pytest.raises(RuntimeError, match="a bug"):
        main(["probe"])


def test_interrupt_has_the_exit_code_of_shells(install: Callable[[Run], None]) -> None:
    def run(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    install(run)

    assert main(["probe"]) == 130


def test_missing_package_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "probe", Command("no_such_package.cli:main", "bench", "probe"))

    assert main(["probe"]) == 2
    message = capsys.readouterr().err
    assert "'no_such_package'" in message
    assert "pip install 'alise[bench]'" in message


def test_missing_module_of_our_own_is_a_bug_and_no_missing_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(COMMANDS, "probe", Command("alise_cli.no_such:main", "bench", "probe"))

    with pytest.raises(ModuleNotFoundError):
        main(["probe"])


def test_nothing_is_imported_before_it_is_called() -> None:
    imported = set(alise_cli.__dict__)

    assert not imported & {"alise_gateway", "alise_bench"}
