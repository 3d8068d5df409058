"""The machine and the versions that figures hold for."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from alise_bench.overhead.results import Conditions
from alise_bench.overhead.targets import Target
from alise_core.errors import AliseError

_LIBRARIES = (
    "uvloop",
    "httptools",
    "msgspec",
    "fastapi",
    "uvicorn",
    "structlog",
    "numpy",
    "onnxruntime",
)


def read_conditions(
    proxy_cpu: int | None, load_cpu: int, *, repeats: int, seed: int, quick: bool
) -> Conditions:
    """Look at the machine now; the load average after the run is filled in later."""
    load = os.getloadavg()[0]
    return Conditions(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        cpu_model=_cpu_model(),
        cpus=os.cpu_count() or 1,
        kernel=platform.release(),
        python=platform.python_version(),
        libraries={name: _version(name) for name in _LIBRARIES},
        proxy_cpu=proxy_cpu,
        load_cpu=load_cpu,
        load_average_before=load,
        load_average_after=load,
        repeats=repeats,
        seed=seed,
        quick=quick,
    )


def bundle_name(directory: Path | None) -> str | None:
    """Name and version of a predictor's bundle; ``None`` where it cannot be used.

    Args:
        directory: Of the bundle; ``None`` for the one that comes with the gateway.
    """
    # Imported here: a measurement of other programs needs none of the predictor.
    from alise_predictor.artifact import load_bundle, shipped_bundle  # noqa: PLC0415

    try:
        manifest = load_bundle(directory or shipped_bundle()).manifest
    except (AliseError, OSError):
        return None
    return f"{manifest.name} {manifest.version}"


def target_version(target: Target, peers: Path, bundle: Path | None = None) -> str:
    """The version of a target; empty where it has none."""
    if target.predicts:
        return f"{_version(target.package)}, bundle {bundle_name(bundle) or '?'}"
    if target.name == "haproxy":
        return _haproxy_version()
    if not target.package:
        return ""
    if not target.program:
        return _version(target.package)
    prefix = target.package.replace("-", "_")
    for found in peers.glob(f"lib/python*/site-packages/{prefix}-*.dist-info"):
        return found.name.removesuffix(".dist-info").rpartition("-")[2]
    return "?"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


def _haproxy_version() -> str:
    try:
        output = subprocess.run(
            ["haproxy", "-v"],  # noqa: S607  whichever the user has
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return "?"
    words = output.split()
    return words[2] if len(words) > 2 else "?"  # noqa: PLR2004  "HAProxy version X"


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
