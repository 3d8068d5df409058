"""The checkout as data, for tests about its shape."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMPONENTS = ("core", "gateway", "operator", "predictor", "engine", "bench", "charts")
"""Directories of the product; each holds import packages and no modules of its own."""

_GENERATED = {"__pycache__", "node_modules", "htmlcov", "dist", "build"}


def files(*tops: str) -> Iterator[Path]:
    """Every file below the given top-level directories, or of the whole checkout."""
    for top in tops or _top_level():
        path = ROOT / top
        if path.is_file():
            yield path
        elif path.is_dir():
            yield from _walk(path)


def python_files(*tops: str) -> list[Path]:
    return sorted(path for path in files(*tops) if path.suffix == ".py")


def packages() -> list[Path]:
    """The top directories of all import packages, for example ``core/alise_core``."""
    return sorted(
        init.parent for component in COMPONENTS for init in (ROOT / component).glob("*/__init__.py")
    )


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _top_level() -> Iterator[str]:
    for path in sorted(ROOT.iterdir()):
        if path.name in _GENERATED:
            continue
        if path.name == ".ci" or path.name.startswith(".pre-commit") or path.name[0] != ".":
            yield path.name


def _walk(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if path.name in _GENERATED or path.name.endswith(".egg-info"):
            continue
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path
