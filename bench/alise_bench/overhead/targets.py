"""The servers that are measured: how each is started, and with which settings.

Every peer runs with its documented setting for two static backends in round robin, logs at
warning level and one worker, on one CPU like everything else.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from alise_bench.overhead.mock import MODEL
from alise_bench.processes import alise_command

PEER_PACKAGES = ("smg==1.13.0", "vllm-router==0.1.17", "litellm[proxy]==1.109.1")

# More streams than one backend's default limit are asked for at once, and the peers have no such
# limit: what is measured is the relay, not the queue in front of it.
_IN_FLIGHT = ("--max-in-flight", "4096")


@dataclass(frozen=True, slots=True)
class Place:
    """What a target is started with in one round.

    Attributes:
        backends: Base URLs of the mock backends.
        port: Where it shall listen.
        aux_port: For its metrics, where it insists on a port for them.
        folder: For files that it needs; empty.
        peers: The peers' virtual environment.
        bundle: A predictor of one's own; ``None`` for the one that comes with the gateway.
    """

    backends: tuple[str, str]
    port: int
    aux_port: int
    folder: Path
    peers: Path
    bundle: Path | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """A command line, and what its clients have to send."""

    command: list[str]
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """One server.

    Attributes:
        name: On the command line and in tables.
        launch: Makes its command line; ``None`` for the backend itself.
        program: Looked up in the peers' environment or on PATH; empty for our own.
        package: The distribution whose version is reported.
        note: Settings that matter for reading the figures.
        skips: Scenarios that would take minutes a round.
        predicts: It needs a predictor's bundle.
    """

    name: str
    launch: Callable[[Place], Launch] | None
    program: str = ""
    package: str = ""
    note: str = ""
    skips: frozenset[str] = frozenset()
    predicts: bool = False


def _alise(place: Place) -> Launch:
    # Off: what is compared with the peers is the relay, and they predict nothing.
    return Launch([*_gateway(place, {"enabled": False}), "--insecure-no-auth"])


def _alise_keys(place: Place) -> Launch:
    key, keys_file = _write_keys(place.folder)
    command = [*_gateway(place, {"enabled": False}), "--keys-file", str(keys_file)]
    return Launch(command, {"authorization": f"Bearer {key}"})


def _alise_predictor(place: Place) -> Launch:
    predictor: dict[str, object] = {"enabled": True}
    if place.bundle is not None:
        predictor["bundle_dir"] = str(place.bundle.absolute())
    return Launch([*_gateway(place, predictor), "--insecure-no-auth"])


def _gateway(place: Place, predictor: dict[str, object]) -> list[str]:
    settings = place.folder / "gateway.yaml"
    settings.write_text(json.dumps({"predictor": predictor}), encoding="utf-8")  # JSON is YAML
    backends = [word for url in place.backends for word in ("--backend", url)]
    listen = ("--host", "127.0.0.1", "--port", str(place.port))
    return alise_command("gateway", "--config", str(settings), *listen, *backends, *_IN_FLIGHT)


def _write_keys(folder: Path) -> tuple[str, Path]:
    # Imported here: a measurement of other programs needs none of the gateway.
    from alise_gateway.identity.keys import create_key, hash_key  # noqa: PLC0415

    key = create_key()
    file = folder / "keys.yaml"
    file.write_text(
        f"tenants:\n- id: bench\n  keys:\n  - hash: '{hash_key(key)}'\n", encoding="utf-8"
    )
    file.chmod(0o600)
    return key, file


def _smg(place: Place) -> Launch:
    listen = f"--host 127.0.0.1 --port {place.port}"
    metrics = f"--prometheus-host 127.0.0.1 --prometheus-port {place.aux_port}"
    options = "--policy round_robin --log-level warn --backend vllm --disable-tokenizer-autoload"
    program = [str(place.peers / "bin" / "smg"), "launch", "--worker-urls", *place.backends]
    return Launch([*program, *listen.split(), *metrics.split(), *options.split()])


def _vllm_router(place: Place) -> Launch:
    listen = f"--host 127.0.0.1 --port {place.port}"
    metrics = f"--prometheus-host 127.0.0.1 --prometheus-port {place.aux_port}"
    options = "--policy round_robin --log-level warning"
    program = [str(place.peers / "bin" / "vllm-router"), "--worker-urls", *place.backends]
    return Launch([*program, *listen.split(), *metrics.split(), *options.split()])


def _litellm(place: Place) -> Launch:
    key = f"sk-{secrets.token_hex(16)}"
    models = "".join(
        f"- model_name: {MODEL}\n  litellm_params:\n    model: hosted_vllm/{MODEL}\n"
        f"    api_base: {url}/v1\n    api_key: none\n"
        for url in place.backends
    )
    config = place.folder / "litellm.yaml"
    config.write_text(
        f"model_list:\n{models}router_settings:\n  routing_strategy: simple-shuffle\n"
        f"general_settings:\n  master_key: {key}\n",
        encoding="utf-8",
    )
    # The variable: without it the price list is fetched from the Internet at every start.
    program = ["env", "LITELLM_LOCAL_MODEL_COST_MAP=True", str(place.peers / "bin" / "litellm")]
    listen = f"--host 127.0.0.1 --port {place.port}"
    options = "--num_workers 1 --telemetry False"
    return Launch(
        [*program, "--config", str(config), *listen.split(), *options.split()],
        {"authorization": f"Bearer {key}"},
    )


def _haproxy(place: Place) -> Launch:
    servers = "".join(
        f"  server s{number} {url.removeprefix('http://')}\n"
        for number, url in enumerate(place.backends)
    )
    config = place.folder / "haproxy.cfg"
    config.write_text(
        "global\n  nbthread 1\n  maxconn 8192\n"
        "defaults\n  mode http\n  option http-keep-alive\n  option http-no-delay\n"
        "  http-reuse always\n  timeout connect 2s\n  timeout client 120s\n"
        "  timeout server 120s\n"
        f"frontend clients\n  bind 127.0.0.1:{place.port}\n  default_backend engines\n"
        f"backend engines\n  balance roundrobin\n{servers}",
        encoding="utf-8",
    )
    return Launch(["haproxy", "-db", "-q", "-f", str(config)])


TARGETS: tuple[Target, ...] = (
    Target("direct", None, note="the mock backend itself"),
    Target(
        "alise",
        _alise,
        package="alise",
        note="request log to a file, metrics on, no authentication, predictor off; in-flight "
        "limit per backend raised to 4,096",
    ),
    Target("alise-keys", _alise_keys, package="alise", note="the same with API keys"),
    Target(
        "alise-predictor",
        _alise_predictor,
        package="alise",
        note="as `alise`, with the length predictor on, which also learns from every answer",
        predicts=True,
    ),
    Target("smg", _smg, "smg", "smg", "round robin, log level warn"),
    Target(
        "vllm-router", _vllm_router, "vllm-router", "vllm-router", "round robin, log level warn"
    ),
    Target(
        "litellm",
        _litellm,
        "litellm",
        "litellm",
        "one worker, no database, simple shuffle, untuned; 1,000 streams would take minutes a "
        "round and are left out",
        frozenset({"s1000"}),
    ),
    Target("haproxy", _haproxy, "haproxy", "", "one thread, round robin, http-no-delay"),
)
BY_NAME = {target.name: target for target in TARGETS}
