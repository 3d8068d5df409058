"""Real vLLM servers, without one: where they are, command lines, the table of lengths."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from alise_bench.vllm.command import Serving, plugin_path, vllm_command
from alise_bench.vllm.place import VllmPlace, model_text, parse_vllm
from alise_bench.vllm.replay import conversation, table_lines
from alise_core.errors import ConfigError
from alise_vllm.lengths import parse_lengths, prompt_key

PLACE = VllmPlace(vllm="/env/bin/vllm", model="/env/model")


def test_a_wrong_place_of_vllm_is_refused() -> None:
    place = parse_vllm('{"vllm": "/a/vllm", "model": "/m", "python": "p", "version": "1"}')
    assert (place.vllm, place.model) == ("/a/vllm", "/m")
    assert place.python == Path("/a/python")
    with pytest.raises(ConfigError, match="vllm_env"):
        parse_vllm("{}")


def test_equal_prompts_are_one_conversation() -> None:
    asked = [{"role": "user", "content": "why"}]
    assert conversation(asked) == conversation(list(asked), ())
    assert conversation(asked) != conversation(asked, [{"type": "function"}])


def test_the_table_is_what_the_plugin_reads() -> None:
    text = table_lines({"one": 7, "two": 9}, [[1, 2], [3]])
    found = list(parse_lengths(text.splitlines(), "lengths"))
    assert [(row.prompt_sha256, row.output_tokens) for row in found] == [
        (prompt_key([1, 2]), 7),
        (prompt_key([3]), 9),
    ]


def test_each_engine_has_its_cpu_and_replays_from_the_file(tmp_path: Path) -> None:
    lengths, options = tmp_path / "lengths.jsonl", ("--max-num-seqs=8",)
    serving = Serving(PLACE, "m", lengths, tmp_path, options)
    first, second = (vllm_command(serving, 8001 + number, number) for number in range(2))
    assert first[0] == "env"
    assert f"PYTHONPATH={tmp_path}" in first
    place = first.index("--additional-config")
    assert json.loads(first[place + 1]) == {"alise": {"replay_file": str(lengths)}}
    assert "--max-num-seqs=8" in first
    assert "alise_vllm.pace:PacedSteps" not in first
    paced = vllm_command(replace(serving, step_seconds=0.02), 8001, 0)
    assert "alise_vllm.pace:PacedSteps" in paced
    settings = json.loads(paced[paced.index("--additional-config") + 1])
    assert settings["alise"] == {"replay_file": str(lengths), "step_seconds": 0.02}
    bound = "VLLM_CPU_OMP_THREADS_BIND="
    cpus = [next(word for word in line if word.startswith(bound)) for line in (first, second)]
    assert len(set(cpus)) == 2


def test_the_plugin_is_reached_without_what_lies_beside_it(tmp_path: Path) -> None:
    path = plugin_path(tmp_path)
    assert plugin_path(tmp_path) == path
    assert {entry.name for entry in path.iterdir()} == {"alise_core", "alise_vllm"}
    assert (path / "alise_vllm/replay.py").is_file()


def test_a_model_is_told_by_its_parameters(tmp_path: Path) -> None:
    place = VllmPlace(vllm="vllm", model=str(tmp_path))
    assert model_text(place) == "a model, random weights (tools/vllm_model.py)"
    assert place.size_name() == ""
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(12_012_345)
        assert place.size_name() == ""
        file.truncate(176_012_345)
    assert place.millions() == 88
    assert place.size_name() == "88m"
    assert model_text(place).startswith("88 million parameters, ")


def test_what_a_token_takes_in_memory_is_read_off_the_model(tmp_path: Path) -> None:
    place = VllmPlace(vllm="vllm", model=str(tmp_path))
    shape = {
        "hidden_size": 768,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "num_key_value_heads": 4,
    }
    (tmp_path / "config.json").write_text(json.dumps(shape))
    # Keys and values, of two bytes each, of 12 layers with 4 heads of 64 numbers.
    assert place.kv_bytes_per_token() == 2 * 2 * 12 * 4 * 64


def test_a_model_that_does_not_say_its_shape_is_told(tmp_path: Path) -> None:
    place = VllmPlace(vllm="vllm", model=str(tmp_path))
    with pytest.raises(ConfigError, match=r"config\.json does not say"):
        place.kv_bytes_per_token()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"config\.json does not say"):
        place.kv_bytes_per_token()
