import asyncio
import signal
import sys
from pathlib import Path

import httpx
import pytest

from alise_bench.sim.cli import _config, _parser, main
from alise_bench.sim.faults import FaultKind
from alise_bench.sim.step_model import CPU
from alise_bench.sim.waiting import Policy
from alise_core.errors import ConfigError
from fakes.engine import running_engine


def test_flags_reach_the_configuration(tmp_path: Path) -> None:
    replay = tmp_path / "r.jsonl"
    replay.write_text('{"prompt": "x", "output_tokens": 3}\n')
    line = (
        "--profile cpu --scheduling-policy priority --num-gpu-blocks 50 --max-num-seqs 9 "
        "--max-num-queued-reqs 4 --shutdown-timeout 2 --drain-middleware --api-key k "
        f"--no-prefix-caching --replay {replay} --speed 10 --alias other"
    )
    fault = '{"kind": "slow", "every": 10, "count": null}'
    config = _config(_parser().parse_args([*line.split(), "--fault", fault]))
    assert config.scheduler.policy is Policy.PRIORITY
    assert (config.scheduler.num_blocks, config.scheduler.block_size) == (50, CPU.block_size)
    assert config.scheduler.max_num_seqs == 9
    assert not config.scheduler.prefix_caching
    assert config.admission.max_num_queued_reqs == 4
    assert config.timing.overhead_seconds == CPU.overhead_seconds / 10
    assert config.faults[0].kind is FaultKind.SLOW
    assert len(config.lengths.replay) == 1
    assert config.api_key == "k"
    assert "api_key" not in repr(config)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--speed", "0"],
        ["--fault", "{"],
        ["--fault", '{"kind": "no"}'],
        ["--replay", "/does/not/exist"],
        ["--profile-file", "/does/not/exist"],
    ],
    ids=str,
)
def test_wrong_flags_are_clear_errors(arguments: list[str]) -> None:
    with pytest.raises(ConfigError):
        main(arguments)


@pytest.mark.slow
async def test_it_serves_from_the_command_line_until_sigterm() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "alise_bench.sim",
        "--port",
        "0",
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        ready = (await process.stdout.readline()).decode()
        assert ready.startswith("sim-engine ready: http://127.0.0.1:")
        async with httpx.AsyncClient(base_url=ready.split()[2]) as client:
            assert (await client.get("/health")).status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


@pytest.mark.slow
async def test_a_port_in_use_is_one_line_on_stderr() -> None:
    async with running_engine() as engine:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "import alise_cli; raise SystemExit(alise_cli.main())",
            "sim-engine",
            "--port",
            str(engine.port),
            stderr=asyncio.subprocess.PIPE,
        )
        _, stderr = await process.communicate()
    assert process.returncode == 2
    assert stderr.decode().count("\n") == 1
    assert "cannot listen on" in stderr.decode()
