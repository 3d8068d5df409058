"""``alise crds``: the custom resource definitions, their chart templates, their documentation."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from alise_core.crds.as_yaml import as_yaml
from alise_core.crds.chart import template, template_name
from alise_core.crds.definition import DEFINITIONS, custom_resource_definition
from alise_core.crds.docs import crds_page
from alise_core.crds.schema import RuleSupport, rule_support
from alise_core.errors import ConfigError


def main(arguments: Sequence[str]) -> int:
    """Runs the command.

    Returns: 0.
    Raises: ConfigError: The version cannot be read, or the directory cannot be written.
    """
    options = _parser().parse_args(arguments)
    if options.docs:
        sys.stdout.write(crds_page())
    elif options.chart:
        _write_templates(options.chart)
    else:
        support = RuleSupport.NONE if options.without_cel else _support_of(options.kube_version)
        found = [custom_resource_definition(kind, support) for kind in DEFINITIONS]
        if options.json:
            listed = {"apiVersion": "v1", "kind": "List", "items": found}
            sys.stdout.write(json.dumps(listed, indent=2) + "\n")
        else:
            sys.stdout.write("---\n".join(as_yaml(item) for item in found))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alise crds",
        description="Print the custom resource definitions: alise crds | kubectl apply -f -",
    )
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="as JSON")
    shown.add_argument("--docs", action="store_true", help="print docs/crds.md instead")
    shown.add_argument(
        "--chart", type=Path, metavar="DIR", help="write the chart's templates to DIR instead"
    )
    parser.add_argument(
        "--kube-version",
        default="",
        metavar="1.N",
        help="leave out what an API server of this version does not know (rules before 1.25, "
        "their field paths before 1.28)",
    )
    parser.add_argument(
        "--without-cel", action="store_true", help="leave out rules between fields (CEL)"
    )
    return parser


def _support_of(version: str) -> RuleSupport:
    if not version:
        return RuleSupport.FULL
    major, _, rest = version.removeprefix("v").partition(".")
    minor = rest.partition(".")[0].rstrip("+")
    if major != "1" or not minor.isdecimal():
        raise ConfigError(f"--kube-version: {version!r} is no version; write 1.34, for example")
    return rule_support(int(minor))


def _write_templates(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for kind in DEFINITIONS:
            (directory / template_name(kind)).write_text(template(kind), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--chart: {directory} cannot be written: {error.strerror}") from None
