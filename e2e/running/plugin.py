"""The engine plugin as vLLM finds it where ALISE is installed, without installing it.

vLLM finds plugins by the entry points of installed distributions. A folder on ``PYTHONPATH`` is
looked through for those as well, so links to the packages and a ``.dist-info`` beside them are
enough, and the cached environment of vLLM stays as it is.
"""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("core/alise_core", "engine/alise_vllm")


def plugin_variables(folder: Path, packages: Iterable[Path] = ()) -> dict[str, str]:
    """The environment that makes vLLM load the plugin.

    Args:
        folder: Where to put it together.
        packages: Of the test's own, to be importable too.
    """
    for package in (*(ROOT / name for name in PACKAGES), *packages):
        (folder / package.name).symlink_to(package, target_is_directory=package.is_dir())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    (info / "entry_points.txt").write_text(_lines(project["entry-points"]), encoding="utf-8")
    return {"PYTHONPATH": str(folder), "VLLM_PLUGINS": "alise"}


def _lines(groups: Mapping[str, Mapping[str, str]]) -> str:
    lines = []
    for group, entries in groups.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    return "\n".join(lines) + "\n"
