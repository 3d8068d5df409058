"""``alise operator``: flags become settings, settings become a process."""

import argparse
from pathlib import Path

from alise_operator.settings import load_settings

_RUN, _CLEANUP, _EXPLAIN = "run", "cleanup", "explain"


def main(arguments: list[str]) -> int:
    """Run the operator until it is told to stop, clean up after it, or explain a pool.

    Returns: 0 after an orderly stop, a complete clean-up or an explanation; 1 after one that is
        not.
    Raises: ConfigError: A flag or variable is wrong.
    """
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    command, pool, as_json = (options.pop(name) for name in ("command", "pool", "json"))
    if (command == _EXPLAIN) != (pool is not None):
        parser.error("explain takes the name of one pool, and nothing else does")
    settings = load_settings({name: value for name, value in options.items() if value is not None})
    from alise_operator import process  # noqa: PLC0415  '--help' answers without the clients

    if command == _EXPLAIN:
        return process.explain(settings, str(pool), as_json=bool(as_json))
    return process.clean_up(settings) if command == _CLEANUP else process.run(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alise operator",
        description=(
            "Looks after ALISE's custom resources: statuses, conditions, Events. Nothing that is "
            "served depends on it."
        ),
        epilog=(
            "Every flag can also come from the environment: --lease-name from "
            "ALISE_OPERATOR_LEASE_NAME. 'alise operator cleanup' takes our entries out of the "
            "status of InferencePools, once, and ends: for when ALISE is uninstalled. 'alise "
            "operator explain POOL' says how the tuner stands at a pool, and why; it only reads."
        ),
    )
    parser.add_argument(
        "command", nargs="?", choices=(_RUN, _CLEANUP, _EXPLAIN), default=_RUN, help="default: run"
    )
    parser.add_argument("pool", nargs="?", help="with explain: name of the ModelPool")
    parser.add_argument("--json", action="store_true", help="with explain: all of it, as JSON")
    _add_cluster(parser)
    _add_lease(parser)
    _add_rest(parser)
    return parser


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("cluster")
    group.add_argument("--kubeconfig", type=Path, metavar="FILE", help="default: the pod's own")
    group.add_argument("--context", metavar="NAME", help="of the kubeconfig; default: its current")
    group.add_argument("--namespace", metavar="NAME", help="to look after; default: its own")
    group.add_argument(
        "--all-namespaces", action="store_true", default=None, help="look after every namespace"
    )


def _add_lease(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("leader election")
    group.add_argument("--lease-name", metavar="NAME", help="default alise-operator")
    group.add_argument("--lease-namespace", metavar="NAME", help="default: its own")
    group.add_argument("--identity", metavar="NAME", help="default: host and a random part")
    group.add_argument("--lease-seconds", type=float, metavar="S", help="default 15")


def _add_rest(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("process")
    group.add_argument("--metrics-host", metavar="HOST", help="default 127.0.0.1")
    group.add_argument("--metrics-port", type=int, metavar="PORT", help="default 9090")
    group.add_argument(
        "--gateway-service", metavar="NAME", help="parent of InferencePools; default alise-gateway"
    )
    group.add_argument("--gateway-namespace", metavar="NAME", help="default: its own")
    group.add_argument("--gateway-selector", metavar="LABELS", help="of the gateways' pods")
    group.add_argument(
        "--gateway-metrics-port", type=int, metavar="PORT", help="of the gateways; default 8081"
    )
    group.add_argument(
        "--tuner-record", type=Path, metavar="FILE", help="add every look of the tuner to it"
    )
    group.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), help="default info"
    )
