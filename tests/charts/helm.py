"""The chart as Helm renders it, for tests."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import yaml

from architecture.repository import ROOT

CHART = ROOT / "charts/alise"
VALUES = Path(__file__).parent / "values"
WORKER = Path(__file__).parent / "helm_worker.py"
NEWEST = "v1.34.0"
OLDEST = "v1.20.2"

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The loader in C where there is one: ten times as fast."""

Object = dict[str, Any]
POD_KINDS = {"Deployment", "StatefulSet", "DaemonSet", "Job"}


class HelmRefused(Exception):
    """Helm gave an error: about the values, or about a template."""


class HelmCrashed(Exception):
    """The process with Helm in it is gone."""


@dataclass(frozen=True)
class Rendered:
    """What one release would be."""

    objects: tuple[Object, ...]
    notes: str

    def of(self, kind: str) -> list[Object]:
        return [item for item in self.objects if item["kind"] == kind]

    def one(self, kind: str, name: str) -> Object:
        found = [item for item in self.of(kind) if item["metadata"]["name"] == name]
        assert len(found) == 1, f"{len(found)} objects {kind} {name}"
        return found[0]

    def pod_specs(self) -> Iterator[tuple[str, Object]]:
        """Every pod that the release can start, with the name of what starts it."""
        for item in self.objects:
            name = f"{item['kind']} {item['metadata']['name']}"
            if item["kind"] == "Pod":
                yield name, item["spec"]
            elif item["kind"] in POD_KINDS:
                yield name, item["spec"]["template"]["spec"]


class Helm:
    """Asks the worker; starts it at the first question."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._rendered: dict[str, Rendered] = {}

    def render(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        name: str = "alise",
        namespace: str = "llm",
        kube_version: str = NEWEST,
        api_versions: Sequence[str] = (),
    ) -> Rendered:
        """The objects of a release; what was rendered before is remembered.

        Raises:
            HelmRefused: With Helm's message.
        """
        request = {
            "operation": "render",
            "chart": str(CHART),
            "values": values or {},
            "name": name,
            "namespace": namespace,
            "kube_version": kube_version,
            "api_versions": list(api_versions),
        }
        key = json.dumps(request)
        if key not in self._rendered:
            self._rendered[key] = self._render(request)
        return self._rendered[key]

    def _render(self, request: dict[str, Any]) -> Rendered:
        files = self.ask(**request)
        notes = next(text for path, text in files.items() if path.endswith("NOTES.txt"))
        documents = [
            item
            for path, text in sorted(files.items())
            if path.endswith(".yaml")
            for item in yaml.load_all(text, LOADER)
            if item is not None
        ]
        return Rendered(tuple(documents), notes)

    def lint(
        self, values: Mapping[str, Any] | None = None, kube_version: str = NEWEST
    ) -> list[str]:
        """What ``helm lint --strict`` complains about."""
        report = self.ask(
            operation="lint", chart=str(CHART), values=values or {}, kube_version=kube_version
        )
        return [
            f"{message['path']}: {message['error']}"
            for message in report["messages"]
            if message["severity"] > 1
        ] + [str(error) for error in report["errors"]]

    def ask(self, **request: object) -> Any:
        """One question to the worker.

        Raises:
            HelmRefused: Helm gave an error.
            HelmCrashed: The worker ended instead of answering.
        """
        process = self._running()
        to, from_ = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
        to.write(json.dumps(request) + "\n")
        to.flush()
        line = from_.readline()
        if not line:
            self._process = None
            _, stderr = process.communicate()
            code = process.returncode
            raise HelmCrashed(
                f"helm_python ended its process (exit code {code}) at {request['operation']!r}; "
                f"it said: {stderr[-2000:].strip() or 'nothing'}"
            )
        reply = json.loads(line)
        if "error" in reply:
            raise HelmRefused(reply["error"])
        return reply["result"]

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603  our own script
                [sys.executable, str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        return self._process


def value_sets() -> dict[str, Path]:
    """The sets of values that everything is tried with, by name."""
    return {path.stem: path for path in sorted(VALUES.glob("*.yaml"))}


def read_values(name: str) -> dict[str, Any]:
    return yaml.safe_load(value_sets()[name].read_text(encoding="utf-8")) or {}
