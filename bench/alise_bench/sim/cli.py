"""``alise sim-engine``: serve one simulated vLLM engine until SIGTERM or SIGINT."""

import argparse
import asyncio
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvloop

from alise_bench.sim.config import DEFAULT_MODEL, EngineConfig
from alise_bench.sim.control import parse_faults
from alise_bench.sim.engine import Admission
from alise_bench.sim.faults import Fault
from alise_bench.sim.kv_dtype import AUTO, DTYPES
from alise_bench.sim.lengths import MEDIAN_TOKENS, SIGMA, Lengths, ReplayTable, load_replay
from alise_bench.sim.server import EngineServer
from alise_bench.sim.step_model import PROFILES, Profile
from alise_bench.sim.waiting import Policy
from alise_core.errors import ConfigError


def main(arguments: list[str]) -> int:
    """Serve until told to stop.

    Returns: 0 after SIGTERM or SIGINT.

    Raises:
        ConfigError: A flag, file or address is wrong.
    """
    config = _config(_parser().parse_args(arguments))
    uvloop.run(_serve(config))
    return 0


async def _serve(config: EngineConfig) -> None:
    server = EngineServer(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await server.start()
    scheduler = config.scheduler
    sys.stdout.write(
        f"sim-engine ready: {server.url} model={config.model} profile={config.profile.name} "
        f"speed={config.speed:g} blocks={scheduler.num_blocks}x{scheduler.block_size} "
        f"max_num_seqs={scheduler.max_num_seqs}\n"
    )
    sys.stdout.flush()
    # A dead loop must end the process: behind it every request would wait for ever.
    ends = {loop.create_task(stop.wait()), loop.create_task(server.failed())}
    done, pending = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await server.terminate()
    for task in done:
        task.result()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alise sim-engine",
        description="Serve a simulated vLLM engine: its HTTP surface, scheduling, KV accounting, "
        "metrics and failure modes, without a model.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9001, help="0 lets the system choose")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="the name it serves")
    parser.add_argument("--alias", action="append", default=[], help="further name; repeatable")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="a100")
    parser.add_argument(
        "--profile-file", type=Path, help="JSON of alise bench calibrate; instead of --profile"
    )
    parser.add_argument("--speed", type=float, default=1.0, help="run time this much faster")
    parser.add_argument("--seed", type=int, default=0)
    _add_scheduling(parser)
    _add_lengths(parser)
    _add_server(parser)
    return parser


def _add_scheduling(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("scheduling (defaults come from the profile)")
    policies = [policy.value for policy in Policy]
    group.add_argument("--scheduling-policy", choices=policies, default=Policy.FCFS.value)
    group.add_argument(
        "--num-gpu-blocks", type=int, help="KV blocks at 16 bits, null block included"
    )
    group.add_argument(
        "--kv-cache-dtype", choices=sorted(DTYPES), default=AUTO, help="fp8: twice the blocks"
    )
    group.add_argument(
        "--misread-kv-cache-dtype",
        action="append",
        default=[],
        choices=sorted(DTYPES),
        help="answer wrongly with this dtype, as a kernel that does not know it; repeatable",
    )
    group.add_argument("--block-size", type=int, help="tokens per KV block")
    group.add_argument("--max-model-len", type=int)
    group.add_argument("--max-num-batched-tokens", type=int)
    group.add_argument("--max-num-seqs", type=int)
    group.add_argument("--no-prefix-caching", action="store_true")
    group.add_argument("--max-num-queued-reqs", type=int, help="answer 503 beyond this many")
    group.add_argument("--max-num-queued-tokens", type=int)


def _add_lengths(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "--replay", type=Path, help="JSONL of prompt or prompt_sha256 and output_tokens"
    )
    group.add_argument("--median-tokens", type=float, default=MEDIAN_TOKENS)
    group.add_argument("--sigma", type=float, default=SIGMA, help="of the logarithm of the length")
    group.add_argument(
        "--tool-call-share", type=float, default=0.5, help="of requests with tools under auto"
    )


def _add_server(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("server")
    group.add_argument("--api-key")
    group.add_argument("--enable-request-id-headers", action="store_true")
    group.add_argument("--enable-server-load-tracking", action="store_true")
    group.add_argument("--enable-scale-out", action="store_true")
    group.add_argument("--shutdown-timeout", type=float, default=0.0, help="seconds after SIGTERM")
    group.add_argument(
        "--drain-middleware", action="store_true", help="POST /alise/drain, GET /alise/ready"
    )
    group.add_argument(
        "--fault",
        action="append",
        default=[],
        help='arm a fault at start, as JSON: \'{"kind": "slow", "every": 10, "count": null}\'',
    )


def _config(options: argparse.Namespace) -> EngineConfig:
    if options.speed <= 0:
        raise ConfigError(f"--speed must be positive, not {options.speed:g}")
    replay = ReplayTable() if options.replay is None else load_replay(options.replay)
    return EngineConfig(
        model=options.model,
        aliases=tuple(options.alias),
        host=options.host,
        port=options.port,
        profile=_profile(options),
        speed=options.speed,
        policy=Policy(options.scheduling_policy),
        num_blocks=options.num_gpu_blocks,
        block_size=options.block_size,
        max_model_len=options.max_model_len,
        max_num_batched_tokens=options.max_num_batched_tokens,
        max_num_seqs=options.max_num_seqs,
        kv_cache_dtype=options.kv_cache_dtype,
        misread_dtypes=frozenset(options.misread_kv_cache_dtype),
        prefix_caching=not options.no_prefix_caching,
        admission=Admission(options.max_num_queued_reqs, options.max_num_queued_tokens),
        lengths=Lengths(replay, options.median_tokens, options.sigma),
        seed=options.seed,
        tool_call_share=options.tool_call_share,
        api_key=options.api_key,
        request_id_headers=options.enable_request_id_headers,
        load_tracking=options.enable_server_load_tracking,
        scale_out=options.enable_scale_out,
        shutdown_timeout_seconds=options.shutdown_timeout,
        drain_middleware=options.drain_middleware,
        faults=_faults(options.fault),
    )


def _profile(options: argparse.Namespace) -> Profile:
    if options.profile_file is None:
        return PROFILES[options.profile]
    try:
        return msgspec.json.decode(options.profile_file.read_bytes(), type=_Calibrated).profile
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"--profile-file {options.profile_file}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Calibrated:
    """What ``alise bench calibrate --json`` prints, as far as it is used here."""

    profile: Profile


def _faults(texts: list[str]) -> tuple[Fault, ...]:
    try:
        return tuple(fault for text in texts for fault in parse_faults(text))
    except ValueError as error:
        raise ConfigError(f"--fault: {error}") from error
