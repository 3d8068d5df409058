"""Make a real Kubernetes control plane for tests, from Debian's source package.

Usage: ``python tools/kubernetes_build.py`` prints one line of JSON, ``{"bin": ..., "version":
...}``, the directory of kube-apiserver, kube-controller-manager, kube-scheduler, etcd and kubectl;
progress goes to stderr. ``--node`` adds ``"node_bin"``, the directory of kubelet and kube-proxy.
Everything lives outside the checkout, in ``${XDG_CACHE_HOME:-~/.cache}/alise``, where directories
carry a hash of the recipe. Nothing is installed and the apt of the machine stays as it is: packages
are listed, downloaded and unpacked in a directory of their own. Needs apt, dpkg, a Debian mirror
and Debian's archive key, and a C compiler for ``--node``. Takes about six minutes of CPU
time for the control plane; 2 GB of disk while it builds, 320 MB after.

Why from source: no package registry serves a kube-apiserver binary, and Debian bookworm's package
is the last whose source is complete. It is Kubernetes 1.20, the oldest the chart supports; what it
lacks (CEL rules, policy/v1, discovery.k8s.io/v1) is checked by other tests, or on a newer cluster
through ``KUBECONFIG``.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import debian_packages
from cached_env import STAMP, SetupError, cached_directory, lock, say, step
from debian_packages import SUITE, within

VERSION = "1.20.2"
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
NODE = ("kubelet", "kube-proxy")
GO_PACKAGES = ("golang-1.19-go", "golang-1.19-src", "golang-github-modern-go-reflect2-dev")
DEBIAN_BINARIES = {"etcd-server": "usr/bin/etcd", "kubernetes-client": "usr/bin/kubectl"}
"""Binary packages, and the file of each that is kept."""
INSTEAD = (
    "; to run the scenarios on a cluster of yours instead: KUBECONFIG=FILE make e2e "
    "(docs/design/0013-cluster-tests.md says what it needs)"
)
STAGING = (
    *("api", "apimachinery", "apiserver", "apiextensions-apiserver", "kube-aggregator"),
    *("metrics", "cloud-provider", "component-base", "kube-controller-manager"),
    *("kube-scheduler", "kube-proxy", "kubelet", "client-go", "cli-runtime"),
    *("csi-translation-lib", "controller-manager"),
)
"""Libraries inside the source tree that have types in the API's description."""
OPENAPI_MARK = "+k8s:openapi-gen="
ALWAYS_FALSE = " || reflect.DeepEqual(reflect.Zero(reflect.TypeOf(data)), reflect.ValueOf(data))"
RECIPE = 2
"""Counted up when ``_build`` changes what it builds."""


@dataclass(frozen=True, slots=True)
class Build:
    """One set of binaries and where it goes."""

    name: str
    binaries: tuple[str, ...]
    debian: dict[str, str]
    cgo: bool

    @property
    def root(self) -> Path:
        """Where this recipe's binaries live, whether they exist or not."""
        recipe = (RECIPE, SUITE, self.binaries, GO_PACKAGES, self.debian, self.cgo)
        return cached_directory(f"{self.name}-{VERSION}", recipe)


BUILD = Build("kubernetes", CONTROL_PLANE, DEBIAN_BINARIES, cgo=False)
NODE_BUILD = Build("kubernetes-node", NODE, {}, cgo=True)


def main() -> int:
    """Build what is missing and print where it is; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--where", action="store_true", help="print the directory and stop")
    parser.add_argument("--node", action="store_true", help="kubelet and kube-proxy as well")
    arguments = parser.parse_args()
    if arguments.where:
        print(BUILD.root)
        return 0
    try:
        found = {"bin": str(ensure(BUILD)), "version": VERSION}
        if arguments.node:
            found["node_bin"] = str(ensure(NODE_BUILD))
    except SetupError as error:
        say(f"kubernetes_build: {error}")
        return 1
    print(json.dumps(found))
    return 0


def ensure(build: Build) -> Path:
    """Return the directory of a build's binaries, building what is not there.

    Raises:
        SetupError: Something the build needs is not to be had.
    """
    root = build.root
    if (root / STAMP).exists():
        return root / "bin"
    debian_packages.check_machine(["gcc"] if build.cgo else [], INSTEAD)
    root.parent.mkdir(parents=True, exist_ok=True)
    with lock(root.with_name(root.name + ".lock")):
        if not (root / STAMP).exists():
            shutil.rmtree(root, ignore_errors=True)
            _build(build, root)
            (root / STAMP).touch()
    return root / "bin"


def _build(build: Build, root: Path) -> None:
    say(f"building {build.name} {VERSION} in {root}: some 150 MB to download, minutes of CPU, once")
    work = root / "work"
    packages = debian_packages.fetch(root, work, (*GO_PACKAGES, *build.debian), "kubernetes")
    debian_packages.unpack(root, packages, work / "system")
    (root / "bin").mkdir()
    for path in build.debian.values():
        shutil.copy2(work / "system" / path, root / "bin")
    source = _unpack_source(root, work)
    go = _go_command(work, cgo=build.cgo)
    _generate_openapi(go, root, work, source)
    targets = [f"./cmd/{name}" for name in build.binaries]
    out = f"{root / 'bin'}{os.sep}"
    build_command = [*go, "build", "-ldflags", _link_flags(), "-o", out, *targets]
    step("compile", within(source, build_command), root)
    shutil.rmtree(work)


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
    _suit_newer_go(work, tree)
    return tree


def _suit_newer_go(work: Path, tree: Path) -> None:
    """Change what relied on the Go of its day, 1.15."""
    # reflect2 1.0.1 reads the run-time's map layout, which changed in Go 1.18.
    vendored = tree / "vendor/github.com/modern-go/reflect2"
    newer = work / "system/usr/share/gocode/src/github.com/modern-go/reflect2"
    for suffix in ("*.go", "*.s"):
        for old in vendored.glob(suffix):
            old.unlink()
        for new in newer.glob(suffix):
            shutil.copy2(new, vendored)
    # Comparing reflect.Values by their addresses was never true; now it is for empty strings,
    # which custom resources could not have any more.
    file = tree / "vendor/github.com/go-openapi/validate/type.go"
    text = file.read_text(encoding="utf-8")
    if text.count(ALWAYS_FALSE) != 1:
        raise SetupError(f"{file.name} of the source tree is not the one that is known")
    file.write_text(text.replace(ALWAYS_FALSE, ""), encoding="utf-8")


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


if __name__ == "__main__":
    sys.exit(main())
