"""``alise operator``: flags become settings, settings become a process."""

import argparse
from pathlib import Path

from alise_operator.settings import load_settings

_RUN, _CLEANUP = "run", "cleanup"


def main(arguments: list[str]) -> int:
    """Run the operator until it is told to stop, or clean up after it.

    Returns: 0 after an orderly stop or a complete clean-up, 1 after one that is not.
    Raises: ConfigError: A flag or variable is wrong.
    """
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    settings = load_settings({name: value for name, value in options.items() if value is not None})
    from alise_operator import process  # noqa: PLC0415  '--help' answers without the clients

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
            "status of InferencePools, once, and ends: for when ALISE is uninstalled."
        ),
    )
    parser.add_argument(
        "command", nargs="?", choices=(_RUN, _CLEANUP), default=_RUN, help="default: run"
    )
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
        "--log-level", choices=("debug", "info", "warning", "error"), help="default info"
    )
