from pathlib import Path

import pytest

from alise_core.errors import ConfigError
from alise_gateway.identity import files
from alise_gateway.identity.files import WatchedFile


def watched(path: Path) -> WatchedFile:
    return WatchedFile(path, "keys file")


def test_content_is_handed_out_once_per_change(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_bytes(b"one")
    file = watched(path)
    assert file.read_if_changed() == b"one"
    assert file.read_if_changed() is None
    path.write_bytes(b"two")  # same inode, same size, perhaps the same tick of mtime
    assert file.read_if_changed() == b"two"
    assert file.read_if_changed() is None


def test_a_rename_over_the_file_is_a_change(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_bytes(b"one")
    file = watched(path)
    file.read_if_changed()
    (tmp_path / "new").write_bytes(b"two")
    (tmp_path / "new").replace(path)
    assert file.read_if_changed() == b"two"


def test_a_kubernetes_secret_swap_is_a_change(tmp_path: Path) -> None:
    # keys.yaml -> ..data/keys.yaml, ..data -> ..<timestamp>; an update renames a new ..data over.
    for version, content in (("..1", b"one"), ("..2", b"two")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "keys.yaml").write_bytes(content)
    (tmp_path / "..data").symlink_to("..1")
    path = tmp_path / "keys.yaml"
    path.symlink_to("..data/keys.yaml")
    file = watched(path)
    assert file.read_if_changed() == b"one"
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert file.read_if_changed() == b"two"


def test_unreadable_is_said_once_and_content_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_bytes(b"one")
    file = watched(path)
    file.read_if_changed()
    path.unlink()
    with pytest.raises(ConfigError, match=r"cannot read keys file .*keys\.yaml"):
        file.read_if_changed()
    assert file.read_if_changed() is None
    path.write_bytes(b"one")
    assert file.read_if_changed() == b"one"


def test_a_huge_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 10)
    path = tmp_path / "keys.yaml"
    path.write_bytes(b"x" * 11)
    with pytest.raises(ConfigError, match="larger than 10 bytes"):
        watched(path).read_if_changed()
