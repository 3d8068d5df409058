"""Helm in a process of its own: one JSON request a line in, one JSON reply a line out.

``helm_python`` is a Go library behind ctypes, and young. What goes wrong in it beyond an exception
ends the process that it is in; this one, and not the tests.
"""

import faulthandler
import json
import os
import sys
from typing import Any

from helm_python import Chart, HelmError, _native, lint


def main() -> None:
    """Answer until standard input ends."""
    faulthandler.enable()
    for line in sys.stdin:
        try:
            reply: dict[str, Any] = {"result": answer(json.loads(line))}
        except HelmError as error:
            reply = {"error": str(error)}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


def answer(request: dict[str, Any]) -> object:
    """What Helm says."""
    operation = request["operation"]
    if operation == "lint":
        return lint(
            request["chart"], request["values"], strict=True, kube_version=request["kube_version"]
        )
    if operation == "render":
        with Chart.load(request["chart"]) as chart:
            # Chart.render has no way to name the cluster's version; the library underneath has.
            names = ("name", "namespace", "kube_version", "api_versions")
            options = {name: request[name] for name in names}
            text = _native.call_string(
                "helm_render", chart._raw(), json.dumps(request["values"]), json.dumps(options)
            )
            return json.loads(text)
    if operation == "crash":
        os.abort()
    raise ValueError(operation)


if __name__ == "__main__":
    main()
