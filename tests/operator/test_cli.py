import pytest

from alise_core.errors import ConfigError
from alise_operator.cli import main


def test_help_names_flags_and_the_clean_up(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])

    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert "--lease-name" in text
    assert "cleanup" in text


def test_outside_of_a_cluster_a_kubeconfig_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    with pytest.raises(ConfigError, match="kubeconfig"):
        main([])


def test_a_kubeconfig_that_is_not_there(tmp_path: object) -> None:
    with pytest.raises(ConfigError, match="kubeconfig /nowhere"):
        main(["cleanup", "--kubeconfig", "/nowhere"])


def test_a_word_that_is_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["explode"])

    assert "'explode'" in capsys.readouterr().err
