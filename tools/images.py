"""Build the images of the working tree, without a registry: ``make images``.

Usage: ``python tools/images.py [DIRECTORY]`` builds the images of the gateway, the operator and the
simulated engine from ``charts/images``, writes them as archives to ``build/images``, as ``docker
load`` takes them, and prints JSON: for each its archive and size, not compressed. The base is a
Debian that debootstrap makes from the machine's mirror; buildah and the rest are Debian's, unpacked
in the cache. Layers are kept there, so that the next build takes seconds. Needs root.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import debian_packages
import node_programs
from cached_env import STAMP, SetupError, cached_directory, lock, say, step

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILES = ROOT / "charts/images"
OUT = ROOT / "build/images"
REGISTRY = "localhost"
TAG = "e2e"
NAMES = ("gateway", "operator", "sim")
PAUSE = "pause"
"""What holds a pod's namespaces: catatonit, which waits for ever and reaps."""
UNUSED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")
"""Left out of Debian's own slim images, too."""
EXCLUDES = "".join(f"path-exclude /{name}/*\n" for name in UNUSED)
CACHES = ("var/cache/apt", "var/lib/apt/lists", "var/log")
MOST_LAYERS = 100
"""Kept in the cache, 20 MB each: those of the build before, and of some earlier ones."""
RECIPE = 1


@dataclass(frozen=True, slots=True)
class Builder:
    """buildah, with images and settings of its own.

    Attributes:
        root: Directory in the cache, for images and layers.
        system: Of the unpacked programs.
    """

    root: Path
    system: Path

    def run(self, name: str, *arguments: str) -> None:
        """Run one command of buildah as a step; fails with what it said."""
        step(name, self.command(*arguments), self.root)

    def command(self, *arguments: str) -> list[str]:
        """Buildah with its settings and these arguments."""
        containers = self.system / "etc/containers"
        settings = {
            **node_programs.variables(self.system),
            "CONTAINERS_REGISTRIES_CONF": str(containers / "registries.conf"),
            "TMPDIR": str(self.root / "tmp"),
        }
        return [
            "env",
            *(f"{key}={value}" for key, value in settings.items()),
            "buildah",
            f"--root={self.root / 'images'}",
            f"--runroot={self.root / 'run'}",
            "--storage-driver=overlay",
            *arguments,
        ]

    def layers(self) -> int:
        """How many images there are, with those that a later build may begin from."""
        command = self.command("images", "--all", "--quiet")
        return len(subprocess.run(command, capture_output=True, check=True).stdout.splitlines())

    def build(self, name: str, context: Path, *arguments: str) -> None:
        """Build ``localhost/NAME:e2e`` from a directory."""
        self.run(
            f"image {name}",
            "bud",
            "--isolation=chroot",
            "--network=host",
            "--pull-never",
            "--layers",
            f"--signature-policy={self.system / 'etc/containers/policy.json'}",
            f"--tag={reference(name)}",
            *arguments,
            str(context),
        )

    def save(self, name: str, archive: Path) -> None:
        """Write an image as an archive of Docker's, which is not compressed: it is read at once."""
        archive.unlink(missing_ok=True)
        self.run(
            f"save {name}",
            "push",
            f"--signature-policy={self.system / 'etc/containers/policy.json'}",
            reference(name),
            f"docker-archive:{archive}:{reference(name)}",
        )


def main() -> int:
    """Build all and print what was built; returns the exit code."""
    try:
        built = ensure(Path(sys.argv[1]) if sys.argv[1:] else OUT)
    except SetupError as error:
        say(f"images: {error}")
        return 1
    found = {
        name: {"archive": str(path), "size_mb": round(path.stat().st_size / 1e6, 1)}
        for name, path in built.items()
    }
    print(json.dumps(found, indent=2))
    return 0


def reference(name: str) -> str:
    """What an image is called in a pod's spec."""
    return f"{REGISTRY}/{name}:{TAG}"


def ensure(out: Path) -> Mapping[str, Path]:
    """Build the images and write them to a directory.

    Returns:
        Name -> archive.

    Raises:
        SetupError: Something a build needs is not to be had.
    """
    if os.geteuid() != 0:
        raise SetupError("images are built by root: sudo make images")
    system = node_programs.ensure()
    root = cached_directory("images", (RECIPE, debian_packages.SUITE))
    for directory in (root / "tmp", out):
        directory.mkdir(parents=True, exist_ok=True)
    names = [PAUSE, *(f"alise-{name}" for name in NAMES)]
    archives = {name: out / f"{name}.tar" for name in names}
    with lock(root.with_name(root.name + ".lock")):
        builder = Builder(root, system)
        if builder.layers() > MOST_LAYERS:
            builder.run("prune", "rmi", "--prune")
        _build(builder)
        for name, archive in archives.items():
            builder.save(name, archive)
    return archives


def _build(builder: Builder) -> None:
    if not (builder.root / STAMP).exists():
        _build_base(builder)
        (builder.root / STAMP).touch()
    with tempfile.TemporaryDirectory(dir=builder.root / "tmp") as scratch:
        context = Path(scratch)
        shutil.copy2(builder.system / "usr/bin/catatonit", context)
        recipe = 'FROM scratch\nCOPY catatonit /pause\nENTRYPOINT ["/pause", "-P"]\n'
        (context / "Dockerfile").write_text(recipe, encoding="utf-8")
        builder.build(PAUSE, context)
    with tempfile.TemporaryDirectory(dir=builder.root / "tmp") as scratch:
        arguments = [f"--build-arg=BASE={reference('alise-base')}", *_pip(Path(scratch))]
        for name in NAMES:
            if name == "sim":
                arguments = [f"--build-arg=GATEWAY={reference('alise-gateway')}"]
            file = f"--file={DOCKERFILES / name}.Dockerfile"
            builder.build(f"alise-{name}", ROOT, file, *arguments)


def _build_base(builder: Builder) -> None:
    """A minimal Debian without manuals, as the slim image of Docker Hub is one."""
    with tempfile.TemporaryDirectory(dir=builder.root / "tmp") as scratch:
        context = Path(scratch)
        tree = context / "tree"
        variables = node_programs.variables(builder.system)
        step(
            "debootstrap",
            [
                "env",
                *(f"{key}={value}" for key, value in variables.items()),
                "debootstrap",
                "--variant=minbase",
                f"--keyring={debian_packages.KEYRING}",
                debian_packages.SUITE,
                str(tree),
                debian_packages.mirror(),
            ],
            builder.root,
        )
        for name in (*UNUSED, *CACHES):
            shutil.rmtree(tree / name)
            (tree / name).mkdir()
        (tree / "etc/dpkg/dpkg.cfg.d/excludes").write_text(EXCLUDES, encoding="utf-8")
        recipe = 'FROM scratch\nCOPY tree /\nCMD ["bash"]\n'
        (context / "Dockerfile").write_text(recipe, encoding="utf-8")
        builder.build("alise-base", context)


def _pip(directory: Path) -> list[str]:
    """Arguments that give the build this machine's package index and certificates."""
    found = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    settings: dict[str, str] = {}
    for line in found.stdout.splitlines():
        key, _, value = line.partition("=")
        # The environment comes first, and counts.
        settings.setdefault(key.rpartition(".")[2], str(ast.literal_eval(value)))
    arguments = []
    if "index-url" in settings:
        arguments.append(f"--build-arg=PIP_INDEX_URL={settings['index-url']}")
    if "cert" in settings:
        shutil.copy2(settings["cert"], directory / "ca.crt")
        arguments += [f"--volume={directory}:/mnt:ro", "--build-arg=PIP_CERT=/mnt/ca.crt"]
    return arguments


if __name__ == "__main__":
    sys.exit(main())
