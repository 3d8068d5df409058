"""Environments that are built once, outside the checkout, and found again by their recipe.

They live in ``${XDG_CACHE_HOME:-~/.cache}/alise``. Two runs at once do not collide: the second
waits for the first's lock. Steps run with their output in a log file, whose end is shown when
one fails.
"""

import ast
import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path

STAMP = ".complete"
"""Written last, so that an interrupted build starts again from nothing."""
TAIL_LINES = 25


class SetupError(Exception):
    """The environment cannot be built; the message says what is missing."""


def cached_directory(name: str, recipe: object) -> Path:
    """Where the environment of a recipe lives, whether it exists or not.

    Args:
        name: First part of the directory's name.
        recipe: Whatever decides what is built; the Python version and machine are added.
    """
    python = f"{sys.version_info[0]}.{sys.version_info[1]} {os.uname().machine}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "alise" / f"{name}-{short_hash(repr((recipe, python)))}"


def code_of(*files: Path) -> list[str]:
    """What Python files do, as a recipe's part that nobody can forget to count up.

    Comments, docstrings and the way it is laid out do not count.
    """
    return [_code(file.read_text(encoding="utf-8")) for file in files]


def _code(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [line for line in body if not _is_docstring(line)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_docstring(line: ast.stmt) -> bool:
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )


def short_hash(text: str) -> str:
    """Enough of a hash to tell recipes apart."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a file's lock; a second run waits."""
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another run is building {path.stem}; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def make_venv(root: Path) -> list[str]:
    """Create ``root/venv``; returns the command that installs into it.

    Raises:
        SetupError: The system's Python lacks ``venv``.
    """
    try:
        venv.create(root / "venv", with_pip=True, symlinks=True)
    except (subprocess.CalledProcessError, OSError) as error:
        raise SetupError(
            "python3 cannot create virtual environments; on Debian or Ubuntu: "
            "apt-get install python3-venv"
        ) from error
    python = str(root / "venv/bin/python")
    return [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]


def step(name: str, command: list[str], root: Path) -> None:
    """Run one step of a build.

    Raises:
        SetupError: It failed; with the end of its output.
    """
    started = time.monotonic()
    log = root / f"{name.split('==', maxsplit=1)[0].replace(' ', '-')}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        try:
            while True:
                try:
                    code = process.wait(timeout=20)
                    break
                except subprocess.TimeoutExpired:
                    say(f"  {name}: {time.monotonic() - started:.0f} s ...")
        finally:
            process.kill()
    if code:
        raise SetupError(explain(name, log.read_text(encoding="utf-8", errors="replace")))
    say(f"  {name}: done in {time.monotonic() - started:.0f} s")


def explain(name: str, output: str) -> str:
    """What to tell a person about a step that failed."""
    for line in output.splitlines():
        if "No matching distribution found for torch==" in line:
            wanted = line.rpartition(" ")[2]
            return (
                f"pip finds no {wanted}. CPU wheels of torch are not on PyPI: let pip see the "
                "PyTorch project's CPU package index, or a folder with the wheel "
                "(PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS), and run this again"
            )
    tail = "\n".join(output.splitlines()[-TAIL_LINES:])
    return f"step '{name}' failed:\n{tail}"


def say(text: str) -> None:
    """Progress, for a person."""
    print(text, file=sys.stderr, flush=True)
