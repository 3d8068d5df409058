from pathlib import Path

import pytest
import yaml

from alise_bench.overhead.runner import missing_reason, readable_command
from alise_bench.overhead.targets import BY_NAME, TARGETS, Launch, Place
from alise_bench.settings import BenchSettings
from alise_gateway.identity.keys import hash_key


@pytest.fixture
def place(tmp_path: Path) -> Place:
    backends = ("http://127.0.0.1:11", "http://127.0.0.1:22")
    return Place(backends, 33, 44, tmp_path, tmp_path / "peers")


def launched(name: str, place: Place) -> Launch:
    launch = BY_NAME[name].launch
    assert launch is not None
    return launch(place)


@pytest.mark.parametrize("name", [item.name for item in TARGETS if item.launch is not None])
def test_every_target_listens_on_loopback_and_knows_both_backends(name: str, place: Place) -> None:
    launch = launched(name, place)
    files = [file.read_text() for file in place.folder.iterdir()]
    told = "\n".join([*launch.command, *files])
    assert "33" in told
    assert "127.0.0.1:11" in told
    assert "127.0.0.1:22" in told
    assert "0.0.0.0" not in told  # noqa: S104


def test_the_key_of_the_keyed_gateway_is_in_its_file_only_as_a_hash(place: Place) -> None:
    launch = launched("alise-keys", place)
    key = launch.headers["authorization"].removeprefix("Bearer ")
    file = place.folder / "keys.yaml"
    assert yaml.safe_load(file.read_text())["tenants"][0]["keys"] == [{"hash": hash_key(key)}]
    assert key not in file.read_text()
    assert "--insecure-no-auth" not in launch.command


def test_litellm_asks_for_the_key_that_its_clients_send(place: Place) -> None:
    launch = launched("litellm", place)
    config = yaml.safe_load((place.folder / "litellm.yaml").read_text())
    key = config["general_settings"]["master_key"]
    assert launch.headers == {"authorization": f"Bearer {key}"}
    assert len(config["model_list"]) == 2


def test_haproxy_sends_every_event_at_once(place: Place) -> None:
    launched("haproxy", place)
    assert "option http-no-delay" in (place.folder / "haproxy.cfg").read_text()


def test_a_peer_that_is_not_installed_says_how_to_install_it(tmp_path: Path) -> None:
    assert "--install-peers" in missing_reason(BY_NAME["smg"], tmp_path)
    assert missing_reason(BY_NAME["direct"], tmp_path) == ""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "smg").touch()
    assert missing_reason(BY_NAME["smg"], tmp_path) == ""


def test_the_peers_live_in_the_user_s_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/cache")
    assert BenchSettings().peers_folder == Path("/some/cache/alise/peers")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert BenchSettings().peers_folder == Path.home() / ".cache" / "alise" / "peers"


@pytest.mark.parametrize("name", [item.name for item in TARGETS if item.launch is not None])
def test_a_recorded_command_names_programs_and_no_folders(name: str, place: Place) -> None:
    words = readable_command(launched(name, place).command)
    assert not any(str(place.folder) in word or word.startswith("/") for word in words)
    assert "alise" not in name or words[:2] == ["alise", "gateway"]
