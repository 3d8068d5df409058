"""``helm install`` and ``helm uninstall`` as a command, by the library that tests use for Helm.

Usage: ``python -m running.cluster.helm_command install NAME CHART --namespace NAMESPACE
[--create-namespace] [--wait]``, or ``uninstall NAME --namespace NAMESPACE``, with ``KUBECONFIG`` in
the environment. Knows no more of Helm's command line than the documents use; what a cluster of
tests needs beside that, its images' names, is in ``ALISE_E2E_HELM_VALUES`` as JSON.
"""

import argparse
import json
import os
from pathlib import Path

from helm_python import Config

VALUES = "ALISE_E2E_HELM_VALUES"
TIMEOUT_SECONDS = 120


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(prog="helm")
    commands = parser.add_subparsers(dest="command", required=True)
    install = commands.add_parser("install")
    uninstall = commands.add_parser("uninstall")
    for command in (install, uninstall):
        command.add_argument("name")
        command.add_argument("-n", "--namespace", required=True)
    install.add_argument("chart", type=Path)
    install.add_argument("--create-namespace", action="store_true")
    install.add_argument("--wait", action="store_const", const="watcher")
    options = parser.parse_args()
    helm = Config(kubeconfig_path=os.environ["KUBECONFIG"], namespace=options.namespace)
    try:
        if options.command == "install":
            helm.install(
                options.chart,
                options.name,
                json.loads(os.environ.get(VALUES, "{}")),
                namespace=options.namespace,
                create_namespace=options.create_namespace,
                wait=options.wait,
                timeout=TIMEOUT_SECONDS,
            )
        else:
            helm.uninstall(options.name, timeout=TIMEOUT_SECONDS)
    finally:
        helm.close()


if __name__ == "__main__":
    main()
