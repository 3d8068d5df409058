"""Make ``.venv``: the locked development requirements, and this checkout, editable.

Usage: ``python3 tools/bootstrap.py`` (the Makefile calls it whenever ``requirements/dev.txt`` or
``pyproject.toml`` is newer than the stamp). Standard library only, because it runs before
anything is installed, and in the syntax of older Pythons, so that they can say that they are too
old. An environment made by another Python is thrown away and made again; the stamp is written
last, so that an interrupted run is simply repeated.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".stamp"
LOG = VENV / "bootstrap.log"
REQUIREMENTS = ROOT / "requirements" / "dev.txt"
TICK_SECONDS = 20
TAIL_LINES = 20


def main() -> int:
    """Bring ``.venv`` up to date; returns the exit code."""
    if sys.version_info < OLDEST:
        return _hand_over_to_newer_python()
    missing = _missing()
    if missing:
        print("setup: " + missing, file=sys.stderr)
        return 1
    started = time.monotonic()
    if not _venv_is_ours():
        _say("setup: creating .venv with Python " + _version())
        shutil.rmtree(VENV, ignore_errors=True)
        subprocess.run([_base_python(), "-m", "venv", str(VENV)], check=True)
    STAMP.unlink(missing_ok=True)
    pip = [str(VENV / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    install = [*pip, "install", "--progress-bar", "off"]
    count = sum(1 for line in REQUIREMENTS.read_text().splitlines() if "==" in line)
    packages = f"setup: installing {count} locked packages"
    # The lock is complete. Resolved anew, a requirement with an extra (coverage[toml]) would lead
    # older pips to that package's latest release, which no pin or hash knows.
    locked = ["--no-deps", "--require-hashes", "-r", str(REQUIREMENTS)]
    if not _run(packages, [*install, *locked]):
        return 1
    editable = ["--no-build-isolation", "--no-deps", "--no-index", "-e", str(ROOT)]
    if not _run("setup: installing alise from this checkout", [*install, *editable]):
        return 1
    STAMP.write_text(_version() + "\n")
    _say(f"setup: .venv is ready ({time.monotonic() - started:.0f} s)")
    return 0


def _hand_over_to_newer_python() -> int:
    for minor in range(20, OLDEST[1] - 1, -1):
        newer = shutil.which(f"python3.{minor}")
        if newer and _runs(newer):
            return subprocess.call([newer, *sys.argv])
    found = ".".join(str(part) for part in sys.version_info[:3])
    print(
        f"setup: Python 3.11 or newer is needed, and {sys.executable} is {found}. "
        "On Debian 12 or Ubuntu 24.04 and later: apt-get install python3 python3-venv",
        file=sys.stderr,
    )
    return 1


def _missing() -> str | None:
    """What this machine lacks, with the remedy; ``None`` when nothing."""
    if sys.platform == "win32":
        return "Linux or another POSIX system is needed"
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            return (
                f"{_base_python()} cannot create virtual environments (no module '{module}'). "
                f"On Debian or Ubuntu: apt-get install python3.{sys.version_info[1]}-venv"
            )
    return None


def _venv_is_ours() -> bool:
    """Whether ``.venv`` exists, runs, has pip, and comes from this very Python."""
    python = VENV / "bin/python"
    probe = "import pip, sys; print(sys.version, sys.base_prefix)"
    try:
        theirs = subprocess.run(
            [str(python), "-c", probe], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return False
    return theirs == f"{sys.version} {sys.base_prefix}"


def _base_python() -> str:
    """The interpreter behind this one, should this run inside a virtual environment."""
    if sys.prefix == sys.base_prefix:
        return sys.executable
    return os.path.realpath(sys.executable)


def _runs(python: str) -> bool:
    """Version managers put commands on PATH that only say that they are not installed."""
    return subprocess.call([python, "-c", ""], stderr=subprocess.DEVNULL) == 0


def _run(what: str, command: list[str]) -> bool:
    """Run a command silently, with a sign of life; on failure show the end of what it said."""
    _say(what)
    started = time.monotonic()
    with LOG.open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        try:
            while True:
                try:
                    code = process.wait(timeout=TICK_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    _say(f"setup:   {time.monotonic() - started:.0f} s ...")
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if code:
        tail = LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
        print("\n".join(tail), file=sys.stderr)
        print(f"setup: pip failed; everything it said is in {LOG}", file=sys.stderr)
    return code == 0


def _version() -> str:
    return ".".join(str(part) for part in sys.version_info[:3])


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("setup: interrupted; run it again to continue", file=sys.stderr)
        sys.exit(130)
