"""Debian packages come from the mirror of this machine; what is missing is named."""

from pathlib import Path

import pytest

import debian_packages
from cached_env import SetupError

SOURCES = """\
Types: deb
URIs: https://security.mirror.example/debian-security
Suites: bookworm-security

Types: deb
URIs: https://mirror.example/debian/
Suites: bookworm
"""


def test_the_mirror_is_that_of_the_release_not_of_its_security(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "debian.sources"
    file.write_text(SOURCES, encoding="utf-8")
    monkeypatch.setattr(debian_packages, "APT_SOURCES", file)

    assert debian_packages.mirror() == "https://mirror.example/debian/"


def test_without_a_mirror_it_says_where_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian_packages, "APT_SOURCES", tmp_path / "debian.sources")
    with pytest.raises(SetupError, match=r"debian\.sources names no mirror"):
        debian_packages.mirror()


def test_programs_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian_packages, "PROGRAMS", ("sh",))
    with pytest.raises(SetupError, match="no a-compiler; instead"):
        debian_packages.check_machine(["a-compiler"], "; instead")


def test_a_missing_key_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian_packages, "PROGRAMS", ("sh",))
    monkeypatch.setattr(debian_packages, "KEYRING", tmp_path / "none.gpg")
    with pytest.raises(SetupError, match="apt-get install debian-archive-keyring"):
        debian_packages.check_machine([], "")
