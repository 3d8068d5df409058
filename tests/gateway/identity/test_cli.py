import io
import json
import stat
from pathlib import Path

import pytest
import yaml

from alise_core.errors import ConfigError
from alise_gateway.identity.authenticator import Authenticator
from alise_gateway.identity.cli import main
from alise_gateway.identity.keys import hash_key, parse_keys
from alise_gateway.settings import IdentitySettings
from fakes.clock import FakeClock


def test_create_prints_the_key_and_what_to_store(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["create", "--tenant", "team-a", "--name", "ci"]) == 0
    key, _, snippet = capsys.readouterr().out.partition("\n\n")
    assert key.startswith("sk-alise-")
    assert key not in snippet
    assert yaml.safe_load(snippet) == {
        "tenants": [{"id": "team-a", "keys": [{"hash": hash_key(key), "name": "ci"}]}]
    }


def test_created_keys_open_the_gateway(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "keys.yaml"
    keys = {}
    for tenant in ("a", "b", "a"):
        assert main(["create", "--tenant", tenant, "--file", str(path)]) == 0
        keys[capsys.readouterr().out.strip()] = tenant
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys.yaml"]
    subject = Authenticator(IdentitySettings(keys_file=path), FakeClock())
    for key, tenant in keys.items():
        assert subject.authenticate([(b"x-api-key", key.encode())]).id == tenant
        assert key not in path.read_text()


def test_what_else_the_file_says_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(
        "tenants: [{id: a, allowed_models: [small], may_schedule: true, highest_class: scale}]"
    )
    main(["create", "--tenant", "a", "--expires", "2027-01-31", "--file", str(path)])
    (tenant,) = yaml.safe_load(path.read_text())["tenants"]
    assert tenant["allowed_models"] == ["small"]
    assert tenant["may_schedule"] is True
    assert tenant["highest_class"] == "scale"
    assert len(parse_keys(path.read_bytes(), "keys.yaml")) == 1


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text("tenants: []")
    (tmp_path / "keys.yaml").symlink_to("real.yaml")
    main(["create", "--tenant", "a", "--file", str(tmp_path / "keys.yaml")])
    assert (tmp_path / "keys.yaml").is_symlink()
    assert "sha256:" in (tmp_path / "real.yaml").read_text()


def test_json_for_machines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["create", "--tenant", "a", "--json"])
    created = json.loads(capsys.readouterr().out)
    assert created["hash"] == hash_key(created["key"])
    monkeypatch.setattr("sys.stdin", io.StringIO(created["key"] + "\n"))
    main(["hash", "--json"])
    assert json.loads(capsys.readouterr().out) == {"hash": created["hash"]}


def test_hash_reads_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "k" * 32
    monkeypatch.setattr("sys.stdin", io.StringIO(key + "\r\nignored\n"))
    assert main(["hash"]) == 0
    assert capsys.readouterr().out == hash_key(key) + "\n"


@pytest.mark.parametrize("line", ["", "short", "k" * 31, "two words " * 8, "ä" * 40, "\t" * 40])
def test_keys_that_can_be_guessed_or_sent_badly_are_refused(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(line))
    with pytest.raises(ConfigError, match="at least 32") as refused:
        main(["hash"])
    assert not line or line not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tenant", "two words"], "--tenant must be"),
        (["--tenant", "a", "--expires", "soon"], "expires: must look like"),
        (["--tenant", "a", "--file", "{folder}/missing/keys.yaml"], "cannot write keys file"),
        (["--tenant", "a", "--file", "{folder}/wrong.yaml"], "not valid YAML"),
    ],
)
def test_mistakes_are_config_errors_and_change_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "wrong.yaml").write_text("tenants: [")
    with pytest.raises(ConfigError, match=message):
        main(["create", *(word.format(folder=tmp_path) for word in arguments)])
    assert capsys.readouterr().out == ""
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [
        ("wrong.yaml", "tenants: [")
    ]


def test_usage_errors_exit_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["create"])
    assert stopped.value.code == 2
    assert "--tenant" in capsys.readouterr().err
