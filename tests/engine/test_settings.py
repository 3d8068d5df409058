from pathlib import Path
from typing import Any

import pytest

from alise_core.errors import ConfigError
from alise_vllm.lengths import RecordedLength, prompt_key
from alise_vllm.ordering.policies import PolicyName
from alise_vllm.ordering.settings import OrderingSettings
from alise_vllm.settings import (
    read_admin_token,
    read_lengths,
    read_scheduler,
    read_step_seconds,
    read_tier,
)

KEY = prompt_key([1, 2, 3])


def named(path: object) -> dict[str, Any]:
    return {"alise": {"replay_file": path}, "of_somebody_else": 1}


def test_the_file_that_is_named_is_read(tmp_path: Path) -> None:
    path = tmp_path / "lengths.jsonl"
    path.write_text(RecordedLength(KEY, 12).line() + "\n", encoding="utf-8")

    assert read_lengths(named(str(path))).take(KEY) == 12


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "--additional-config"),
        (None, "--additional-config"),
        ({"alise": "lengths.jsonl"}, "--additional-config"),
        ({"alise": {"replay": "x"}}, "no setting 'replay'"),
        ({"alise": {}}, "'replay_file' has to be"),
        (named(3), "'replay_file' has to be"),
        (named(""), "'replay_file' has to be"),
        (named("no/such/file"), "no/such/file cannot be read"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_named(config: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_lengths(config)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "line 1: holds no recorded length"),
        (b"\n\n{}\n", "line 3: "),
        (b"\xff\n", "cannot be read"),
    ],
)
def test_a_file_that_is_wrong_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "lengths.jsonl"
    path.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        read_lengths(named(str(path)))

    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_a_steps_length_is_read() -> None:
    assert read_step_seconds({"alise": {"step_seconds": 1, "replay_file": "x"}}) == 1.0


@pytest.mark.parametrize("value", [None, "0.1", True, 0, -1, 11, float("nan"), [0.1]])
def test_a_steps_length_that_cannot_be_is_named(value: object) -> None:
    with pytest.raises(ConfigError, match=r"step_seconds.*above 0 and up to 10.*0.02"):
        read_step_seconds({"alise": {"step_seconds": value}})


@pytest.mark.parametrize("config", [None, {}, {"alise": {}}])
def test_a_steps_length_that_is_missing_is_asked_for(config: object) -> None:
    with pytest.raises(ConfigError, match="--additional-config"):
        read_step_seconds(config)


def scheduler(section: object) -> dict[str, Any]:
    return {"alise": {"scheduler": section, "replay_file": "lengths.jsonl"}}


@pytest.mark.parametrize("config", [None, {}, {"alise": {}}, scheduler({})])
def test_the_scheduler_needs_no_settings(config: object) -> None:
    assert read_scheduler(config) == OrderingSettings()


def test_the_scheduler_s_settings_are_read() -> None:
    found = read_scheduler(scheduler({"policy": "mlfq", "margin": 1}))

    assert (found.policy, found.margin) == (PolicyName.MLFQ, 1.0)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (scheduler("srpt"), "'scheduler' is 'srpt' and has to be an object"),
        (scheduler({"margin": "x"}), "'alise': 'scheduler': margin is 'x'"),
        (scheduler({"polcy": "srpt"}), "no setting 'polcy'"),
        ({"alise": {"schedule": {}}}, "no setting 'schedule'"),
    ],
)
def test_a_setting_of_the_scheduler_that_is_wrong_is_named(config: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_scheduler(config)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_tier_gets_its_section_as_it_is_and_nothing_misspelt_beside_it() -> None:
    assert read_tier({"alise": {"tier": [1], "scheduler": {}}}) == [1]
    assert read_tier({"alise": {"scheduler": {}}}) is None
    assert read_tier(None) is None
    with pytest.raises(ConfigError, match="'alise' has no setting 'teir'"):
        read_tier({"alise": {"tier": {}, "teir": {}}})


TOKEN = "an-admin-token"


def admin(**settings: object) -> dict[str, Any]:
    return {"alise": {"replay_file": "x", "admin": settings}}


def test_the_token_comes_from_its_file_or_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n", encoding="utf-8")
    variables = {"ALISE_ADMIN_TOKEN": "from-the-environment"}

    assert read_admin_token(admin(token_file=str(path)), variables) == TOKEN
    assert read_admin_token(admin(), variables) == "from-the-environment"
    assert read_admin_token(None, variables) == "from-the-environment"
    assert read_admin_token(admin(), {}) is None


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"alise": []}, "'alise' has to be a JSON object"),
        ({"alise": {"admn": {}}}, "'alise' has no setting 'admn'"),
        ({"alise": {"admin": "x"}}, "'admin' has to be a JSON object"),
        (admin(token=TOKEN), "'admin' has no setting 'token'"),
        (admin(token_file=""), "'token_file' has to be the path of a file"),
        (admin(token_file=3), "'token_file' has to be the path of a file"),
        (admin(token_file="no/such/file"), "no/such/file cannot be read"),
        (admin(token_file="a\0b"), "cannot be read"),
        (admin(), "ALISE_ADMIN_TOKEN holds no token"),
    ],
)
def test_a_token_setting_that_is_wrong_is_named(config: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_admin_token(config, {"ALISE_ADMIN_TOKEN": "short"})

    assert said in str(caught.value)
    assert "short" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"short", b"two words here", b"l\xc3\xa4ngst kein Token", b"\xff"]
)
def test_a_file_that_holds_no_token_is_named_and_not_shown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        read_admin_token(admin(token_file=str(path)), {})

    assert str(path) in str(caught.value)
    assert "words" not in str(caught.value)
