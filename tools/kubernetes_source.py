"""Kubernetes from Debian's source package: unpacked, suited to Debian's Go, compiled.

What is built is decided here and in ``debian_packages.py``, and nowhere else: the cache of
``kubernetes_build.py`` goes by the code of both. Why from source: no package registry serves a
kube-apiserver binary, and Debian bookworm's package is the last whose source is complete. It is
Kubernetes 1.20, the oldest the chart supports; what it lacks (CEL rules, policy/v1,
discovery.k8s.io/v1) is checked by other tests, or on a newer cluster through ``KUBECONFIG``.
"""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import debian_packages
from cached_env import SetupError, step
from debian_packages import SUITE, within

VERSION = "1.20.2"
GO_PACKAGES = ("golang-1.19-go", "golang-1.19-src", "golang-github-modern-go-reflect2-dev")
REFLECT2 = "github.com/modern-go/reflect2"
STAGING = (
    *("api", "apimachinery", "apiserver", "apiextensions-apiserver", "kube-aggregator"),
    *("metrics", "cloud-provider", "component-base", "kube-controller-manager"),
    *("kube-scheduler", "kube-proxy", "kubelet", "client-go", "cli-runtime"),
    *("csi-translation-lib", "controller-manager"),
)
"""Libraries inside the source tree that have types in the API's description."""
OPENAPI_MARK = "+k8s:openapi-gen="


@dataclass(frozen=True, slots=True)
class Change:
    """What is taken out of a vendored library.

    Attributes:
        package: Its import path.
        file: Of the package.
        text: Stands there once.
    """

    package: str
    file: str
    text: str


@dataclass(frozen=True, slots=True)
class Build:
    """One set of binaries.

    Attributes:
        name: Of the set.
        binaries: Commands of the source tree.
        debian: Binary packages of Debian, and the file of each that is kept.
        cgo: Whether C is compiled.
        changes: Of the source, beside those that all sets need.
    """

    name: str
    binaries: tuple[str, ...]
    debian: dict[str, str]
    cgo: bool
    changes: tuple[Change, ...] = ()


# Comparing reflect.Values goes by their addresses. They were never the same; with Go 1.19 they are
# for empty strings, which custom resources could not have any more.
EMPTY_STRINGS = Change(
    "k8s.io/kube-openapi/pkg/validation/validate",
    "type.go",
    " || reflect.DeepEqual(reflect.Zero(reflect.TypeOf(data)), reflect.ValueOf(data))",
)
CONTROL_PLANE = Build(
    "kubernetes",
    ("kube-apiserver", "kube-controller-manager", "kube-scheduler"),
    {"etcd-server": "usr/bin/etcd", "kubernetes-client": "usr/bin/kubectl"},
    cgo=False,
    changes=(EMPTY_STRINGS,),
)
NODE = Build("kubernetes-node", ("kubelet", "kube-proxy"), {}, cgo=True)


def compile_into(build: Build, root: Path) -> None:
    """Make the binaries of a set.

    Args:
        build: The set.
        root: They go to its ``bin``; logs beside that, and meanwhile 2 GB of other files.

    Raises:
        SetupError: Something it needs is not to be had, or not what is known.
    """
    work = root / "work"
    packages = debian_packages.fetch(root, work, (*GO_PACKAGES, *build.debian), "kubernetes")
    debian_packages.unpack(root, packages, work / "system")
    (root / "bin").mkdir()
    for path in build.debian.values():
        shutil.copy2(work / "system" / path, root / "bin")
    source = _unpack_source(root, work)
    newer = work / "system/usr/share/gocode/src" / REFLECT2
    suit_newer_go(source / "vendor", newer, build.changes)
    go = _go_command(work, cgo=build.cgo)
    targets = [f"./cmd/{name}" for name in build.binaries]
    _generate_openapi(go, root, work, source)
    step("dependencies", within(source, [*go, "list", "-deps", *targets]), root)
    used = (root / "dependencies.log").read_text(encoding="utf-8").splitlines()
    check_used(used, (REFLECT2, *(change.package for change in build.changes)))
    out = f"{root / 'bin'}{os.sep}"
    command = [*go, "build", "-ldflags", _link_flags(), "-o", out, *targets]
    step("compile", within(source, command), root)
    shutil.rmtree(work)


def suit_newer_go(vendor: Path, newer_reflect2: Path, changes: Iterable[Change]) -> None:
    """Change what relied on the Go of its day, 1.15.

    Args:
        vendor: Of the source tree.
        newer_reflect2: Debian's: 1.0.1 reads the run-time's map layout, which is another one
            since Go 1.18.
        changes: Others.

    Raises:
        SetupError: The source is not the one that is known.
    """
    vendored = vendor / REFLECT2
    for suffix in ("*.go", "*.s"):
        for old in vendored.glob(suffix):
            old.unlink()
        for new in newer_reflect2.glob(suffix):
            shutil.copy2(new, vendored)
    for change in changes:
        file = vendor / change.package / change.file
        text = file.read_text(encoding="utf-8")
        if text.count(change.text) != 1:
            raise SetupError(
                f"{change.package}/{change.file} of the source tree is not the one that is known"
            )
        file.write_text(text.replace(change.text, ""), encoding="utf-8")


def check_used(dependencies: Iterable[str], changed: Iterable[str]) -> None:
    """Make sure that what was changed is what is compiled: the tree has copies of some libraries.

    Args:
        dependencies: Import paths of all packages that the binaries are made of.
        changed: Import paths of packages, without those of the trees that vendor them.

    Raises:
        SetupError: A changed package is not among them.
    """
    used = {path.rpartition("/vendor/")[2] for path in dependencies}
    unused = sorted(set(changed) - used)
    if unused:
        raise SetupError(f"changed, but no part of what is built: {', '.join(unused)}")


def _unpack_source(root: Path, work: Path) -> Path:
    """Unpack the source tree as a GOPATH has it; returns the tree's place there."""
    tarballs = list((work / "packages").glob(f"kubernetes_*{VERSION}*.orig.tar.gz"))
    if not tarballs:
        raise SetupError(
            f"Debian {SUITE} does not have the source of Kubernetes {VERSION} any more"
        )
    tree = work / "go/src/k8s.io/kubernetes"
    tree.mkdir(parents=True)
    unpack = ["tar", "xzf", str(tarballs[0]), "-C", str(tree), "--strip-components=1"]
    step("unpack source", unpack, root)
    return tree


def _go_command(work: Path, *, cgo: bool) -> list[str]:
    """Debian's Go, run where it was unpacked and with nothing of the caller's set-up.

    GOPATH mode: in module mode Go 1.19 wants to update go.mod of this older tree first.
    """
    home = work / "system/usr/lib/go-1.19"
    variables = {
        "PATH": f"{home / 'bin'}:/usr/bin:/bin",
        "HOME": str(work),
        "GOROOT": str(home),
        "GOPATH": str(work / "go"),
        "GOCACHE": str(work / "cache"),
        "GO111MODULE": "off",
        "GOPROXY": "off",
        "GOFLAGS": "",
        "CGO_ENABLED": "1" if cgo else "0",
    }
    return ["env", "-i", *(f"{key}={value}" for key, value in variables.items()), "go"]


def _generate_openapi(go: list[str], root: Path, work: Path, tree: Path) -> None:
    """Write the one generated file that the source tree lacks: the API's description."""
    tool = str(work / "openapi-gen")
    package = "k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen"
    step("compile openapi-gen", within(tree, [*go, "build", "-o", tool, package]), root)
    violations = work / "violations.txt"
    generate = [tool, "-i", ",".join(_described_packages(tree))]
    generate += ["-p", "k8s.io/kubernetes/pkg/generated/openapi", "-O", "zz_generated.openapi"]
    generate += ["-h", "hack/boilerplate/boilerplate.generatego.txt", "-r", str(violations)]
    step("openapi", within(tree, [*go[:-1], *generate]), root)
    expected = tree / "api/api-rules/violation_exceptions.list"
    if violations.read_bytes() != expected.read_bytes():
        raise SetupError("the API's description differs from upstream's: packages are missing")


def _described_packages(tree: Path) -> list[str]:
    """Import paths of all packages with a mark that the generator looks for."""
    roots = [tree / "pkg", tree / "cmd", *(tree / "staging/src/k8s.io" / name for name in STAGING)]
    found = {path.parent for root in roots for path in _marked(root.rglob("*.go"))}
    prefix = "k8s.io/kubernetes"
    relative = (str(path.relative_to(tree)) for path in found)
    return sorted(f"{prefix}/{path.replace('staging/src/', 'vendor/', 1)}" for path in relative)


def _marked(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if "_test" in str(path) or not path.is_file():
            continue
        if OPENAPI_MARK in path.read_text(encoding="utf-8", errors="replace"):
            yield path


def _link_flags() -> str:
    """Give the binaries their version, which clients and Helm charts go by."""
    major, minor, _ = VERSION.split(".")
    values = {"gitVersion": f"v{VERSION}", "gitMajor": major, "gitMinor": minor}
    values["gitTreeState"] = "archive"
    packages = ("component-base/version", "client-go/pkg/version")
    flags = ["-s", "-w"]
    for package in packages:
        where = f"k8s.io/kubernetes/vendor/k8s.io/{package}"
        flags += [f"-X {where}.{key}={value}" for key, value in values.items()]
    return " ".join(flags)
