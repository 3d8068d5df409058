"""``alise gateway``: flags become settings, settings become a process."""

import argparse
from pathlib import Path
from typing import Any

from alise_core.errors import ConfigError
from alise_gateway.settings import load_settings


def main(arguments: list[str]) -> int:
    """Run the gateway until it is told to stop.

    Returns: 0 after an orderly stop.
    Raises: ConfigError: A flag, variable or file is wrong.
    """
    options = _parser().parse_args(arguments)
    settings = load_settings(options.config, _flags(options))
    from alise_gateway.process import run  # noqa: PLC0415  '--help' answers without the server

    return run(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alise gateway",
        description="OpenAI-compatible gateway in front of vLLM backends.",
        epilog=(
            "Every setting can also come from the --config file or from ALISE_GATEWAY_* variables; "
            "a flag wins over a variable, a variable over the file."
        ),
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML settings file")
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="inference port (default 8080)")
    parser.add_argument("--admin-host", help="address of the admin port (default 127.0.0.1)")
    parser.add_argument("--admin-port", type=int, help="admin API, metrics, probes; off by default")
    parser.add_argument(
        "--backend",
        action="append",
        metavar="URL",
        help="a vLLM server, for example http://127.0.0.1:9001; repeat for more",
    )
    parser.add_argument(
        "--alias",
        action="append",
        metavar="NAME=MODEL",
        help="serve MODEL under NAME too; repeat for more",
    )
    parser.add_argument("--keys-file", type=Path, metavar="FILE", help="tenants and hashed keys")
    parser.add_argument(
        "--insecure-no-auth",
        action="store_true",
        help="serve requests without credentials; for tests and closed networks",
    )
    parser.add_argument("--max-in-flight", type=int, metavar="N", help="per backend (default 256)")
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), help="default info"
    )
    return parser


def _flags(options: argparse.Namespace) -> dict[str, Any]:
    """Only what was given: everything else is for weaker sources to say."""
    flags: dict[str, Any] = {
        name: value
        for name, value in (
            ("host", options.host),
            ("port", options.port),
            ("admin_host", options.admin_host),
            ("admin_port", options.admin_port),
        )
        if value is not None
    }
    if options.backend:
        flags["backends"] = [{"url": url} for url in options.backend]
    if options.alias:
        flags["aliases"] = dict(_split_alias(alias) for alias in options.alias)
    identity: dict[str, Any] = {}
    if options.keys_file is not None:
        identity["keys_file"] = options.keys_file
    if options.insecure_no_auth:
        identity["allow_anonymous"] = True
    if identity:
        flags["identity"] = identity
    if options.max_in_flight is not None:
        flags["queue"] = {"max_in_flight_per_backend": options.max_in_flight}
    if options.log_level is not None:
        flags["observability"] = {"log_level": options.log_level}
    return flags


def _split_alias(alias: str) -> tuple[str, str]:
    name, _, model = alias.partition("=")
    if not name or not model:
        raise ConfigError(f"--alias {alias!r} must look like NAME=MODEL")
    return name, model
