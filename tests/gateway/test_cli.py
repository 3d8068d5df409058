"""Flags, variables and the file, before any server starts."""

from pathlib import Path

import pytest

from alise_core.errors import ConfigError
from alise_gateway.cli import main


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--port", "70000"], ("port", "70000", "65535")),
        (["--backend", "localhost:8000"], ("backends.0.url", "localhost:8000", "http://host")),
        (["--backend", "ftp://a:1"], ("backends.0.url", "ftp://a:1")),
        (["--backend", "http://a:99999"], ("backends.0.url", "99999")),
        (["--backend", "http://user@a:1"], ("backends.0.url", "user")),
        (["--backend", "http://a:1", "--backend", "http://a:1/"], ("more than once",)),
        (["--max-in-flight", "0"], ("queue.max_in_flight_per_backend", "0")),
        (["--alias", "nonsense"], ("nonsense", "NAME=MODEL")),
        (["--alias", "=x"], ("=x", "NAME=MODEL")),
        (["--alias", "x="], ("x=", "NAME=MODEL")),
        (["--config", "/nowhere/alise.yaml"], ("/nowhere/alise.yaml",)),
    ],
)
def test_a_wrong_flag_is_named_with_its_value_and_the_remedy(
    arguments: list[str], parts: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as raised:
        main(arguments)
    text = str(raised.value)
    assert "\n" not in text
    for part in parts:
        assert part in text


def test_a_wrong_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALISE_GATEWAY_TIMEOUTS__CONNECT_SECONDS", "-1")
    with pytest.raises(ConfigError, match=r"timeouts\.connect_seconds: .*greater than 0.*'-1'"):
        main([])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("timeouts: {connect_seconds: 0}", r"timeouts\.connect_seconds: .*greater than 0"),
        ("nonsense: 1", r"nonsense: "),
        ("- a list", "mapping"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_wrong_file(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "alise.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=match) as raised:
        main(["--config", str(path)])
    assert "\n" not in str(raised.value)


def test_help_answers_without_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "--backend" in capsys.readouterr().out
