"""The commands of the documents, as they stand there, made runnable without a GPU or a kubelet."""

import re
from pathlib import Path
from typing import Any

import yaml

from running.cluster.api import Object

ROOT = Path(__file__).resolve().parents[3]
MANIFEST = "examples/quickstart.yaml"
SECTION = "## On Kubernetes"
OPTIONS_OF_SIMULATOR = ("--model=", "--port=", "--max-num-seqs=", "--shutdown-timeout=")
DRAIN = "--middleware=alise_vllm.control.middleware.Drain"
WATCH = re.compile(r"^kubectl .* get modelpools -w$", re.MULTILINE)


def readme_commands() -> list[str]:
    """Of the README's section on Kubernetes, comments removed."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition(f"\n{SECTION}\n")[2].partition("\n## ")[0]
    block = section.partition("```sh\n")[2].partition("```")[0]
    return [line.partition("  #")[0].rstrip() for line in block.splitlines()]


def manifest_commands() -> list[str]:
    """Of the comment that the manifest begins with: its indented lines, comments removed."""
    lines = (ROOT / MANIFEST).read_text(encoding="utf-8").splitlines()
    comment = lines[: next(at for at, line in enumerate(lines) if not line.startswith("#"))]
    code = "\n".join(line.removeprefix("#   ") for line in comment if line.startswith("#   "))
    return [line.partition("  #")[0].rstrip() for line in code.replace("\\\n", " ").splitlines()]


def simulated(image: str) -> str:
    """The manifest with the simulated engine in vLLM's place, and all else as it is.

    Args:
        image: Of the simulated engine.
    """
    items: list[Object] = list(yaml.safe_load_all((ROOT / MANIFEST).read_text(encoding="utf-8")))
    for item in items:
        if item["kind"] == "Deployment":
            [container] = item["spec"]["template"]["spec"]["containers"]
            _simulate(container, image)
    return yaml.safe_dump_all(items, sort_keys=False)


def _simulate(container: Any, image: str) -> None:
    given = container["args"]
    kept = [word for word in given if word.startswith(OPTIONS_OF_SIMULATOR)]
    drain = ["--drain-middleware"] if DRAIN in given else []
    container["image"] = image
    container["args"] = ["--host=0.0.0.0", *kept, *drain]
    container["resources"]["limits"].pop("nvidia.com/gpu")
    # A node of tests has no room for what a real engine asks for.
    container["resources"]["requests"] = {"cpu": "50m", "memory": "128Mi"}


def until_ready(commands: str, pool: str, seconds: float) -> str:
    """Let the command that watches pools end as soon as it shows a pool with its one endpoint.

    Args:
        commands: A script.
        pool: Name of the pool.
        seconds: After which it ends without.
    """
    shown = rf"^{pool} +1/1 "
    watched, number = WATCH.subn(
        lambda found: f"grep -Em1 '{shown}' < <(exec timeout {seconds:g} {found[0]})", commands
    )
    assert number == 1, f"{MANIFEST} has no command that waits for the pool"
    return watched
