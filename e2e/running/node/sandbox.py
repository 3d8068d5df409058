"""A container without a container runtime: this machine's own files, under a layer of the pod's.

The root is an overlay whose lower layer is the machine's root file system, so that the "image" is
the working tree and its virtual environment as they are. Writes go to a layer in memory, or nowhere
with ``readOnlyRootFilesystem``. Each pod has a network namespace with an address of its own; each
container has mounts and a host name of its own, and runs as the user that the pod asks for, without
capabilities when it drops them. There are no limits on CPU and memory, no image pulls, no seccomp
profile, and processes of other pods can be seen.
"""

import asyncio
import contextlib
import itertools
import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from running.cluster.network import API_SERVER, BRIDGE
from running.node.volumes import Volume

Object = dict[str, Any]
IMAGE_USER = 65_532
"""Who runs in our images where the pod does not say."""
PROGRAMS = Path(sys.prefix) / "bin"
PATH = f"{PROGRAMS}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
ENVIRONMENT = (Path(__file__).resolve().parents[3], Path(sys.prefix), Path(sys.base_prefix))
"""What every container runs from: the checkout and its Python."""


class SandboxError(Exception):
    """The machine refused something that a sandbox is made of."""


class PodNetwork:
    """One pod's network namespace."""

    _numbers = itertools.count(256 + 2)

    def __init__(self) -> None:
        number = next(self._numbers)
        self.name = f"pod{number}"
        self.address = f"10.244.{number // 256}.{number % 256}"
        self.address_of_nothing = f"10.245.{number // 256}.{number % 256}"
        """Of a pod that runs nothing, which needs no network."""
        self._is_made = False

    async def create(self) -> None:
        """Make it, with an address on the bridge."""
        self._is_made = True
        name, peer = self.name, f"veth{self.name[3:]}"
        await shell(
            f"ip netns add {name}",
            f"ip link add {peer} type veth peer name eth0 netns {name}",
            f"ip link set {peer} master {BRIDGE} up",
            f"ip -n {name} link set lo up",
            f"ip -n {name} addr add {self.address}/16 dev eth0",
            f"ip -n {name} link set eth0 up",
            f"ip -n {name} route add default via {API_SERVER}",
        )

    async def remove(self) -> None:
        """Forget it, if it was made; its devices go with its last process."""
        if self._is_made:
            with contextlib.suppress(SandboxError):
                await shell(f"ip netns del {self.name}")


@dataclass(frozen=True, slots=True)
class Files:
    """Where the parts of one container's file system are."""

    directory: Path
    hosts: str

    @property
    def root(self) -> Path:
        return self.directory / "root"

    @property
    def upper(self) -> Path:
        return self.directory / "upper"


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """All that is needed to start one container."""

    pod: Object
    spec: Object
    command: tuple[str, ...]
    environment: Mapping[str, str]
    volumes: Mapping[str, Volume]
    files: Files
    network: PodNetwork

    @property
    def security(self) -> Object:
        """The pod's security context under the container's."""
        return {
            **self.pod["spec"].get("securityContext", {}),
            **self.spec.get("securityContext", {}),
        }


class Container:
    """A running container."""

    def __init__(self, plan: ContainerPlan, process: asyncio.subprocess.Process) -> None:
        self.plan = plan
        self._process = process

    @property
    def exit_code(self) -> int | None:
        code = self._process.returncode
        return code if code is None or code >= 0 else 128 - code

    async def wait(self) -> int:
        """Wait until its first process ends and end what it left behind."""
        await self._process.wait()
        self._signal(signal.SIGKILL)
        assert self.exit_code is not None
        return self.exit_code

    def terminate(self) -> None:
        if self.exit_code is None:
            self._process.terminate()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    async def execute(self, command: Sequence[str], seconds: float) -> bool:
        """Run a command inside; whether it succeeded in time."""
        enter = ["nsenter", "-t", str(self._process.pid), "--mount", "--uts", "--net", "--root"]
        process = await asyncio.create_subprocess_exec(
            *enter, *_as_user(self.plan), *command, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(seconds):
                return await process.wait() == 0
        except TimeoutError:
            process.kill()
            await process.wait()
            return False


async def start(plan: ContainerPlan, log: Path) -> Container:
    """Start a container with its output appended to a file."""
    files = plan.files
    for path in (files.root, files.upper, files.directory / "work"):
        path.mkdir(parents=True, exist_ok=True)
    script = _script(plan)
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *("unshare", "--mount", "--uts", "--propagation", "private"),
            *("sh", "-euc", script),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    return Container(plan, process)


def _script(plan: ContainerPlan) -> str:
    """Shell commands that build the file system and become the container's process."""
    files, root = plan.files, plan.files.root
    # A link of the lower layer to an absolute path would lead out of the new root.
    (files.upper / "var/run").mkdir(parents=True, exist_ok=True)
    _write(files.upper / "etc/hosts", files.hosts)
    # Names that are not in the hosts file fail at once.
    _write(files.upper / "etc/resolv.conf", "nameserver 127.0.0.1\n")
    layers = f"lowerdir=/,upperdir={files.upper},workdir={files.directory / 'work'}"
    lines = [f"mount -t overlay overlay -o {layers} {root}"]
    lines += [f"mount --rbind {path} {root}{path}" for path in ("/proc", "/dev", "/sys")]
    lines += _reachable(root)
    lines += [line for mount in plan.spec.get("volumeMounts", []) for line in _mount(plan, mount)]
    lines += _uncovered(plan)
    if plan.security.get("readOnlyRootFilesystem"):
        lines.append(f"mount -o remount,ro {root}")
    lines.append(f"echo {shlex.quote(plan.pod['metadata']['name'])} > /proc/sys/kernel/hostname")
    enter = ["nsenter", f"--net=/run/netns/{plan.network.name}", "chroot", str(root)]
    where = ["env", "-C", plan.spec.get("workingDir", "/")]
    lines.append("exec " + shlex.join([*enter, *_as_user(plan), *where, *plan.command]))
    return "\n".join(lines)


def _reachable(root: Path) -> list[str]:
    """Let any user reach this environment, wherever it is, and have it if it is a mount."""
    lines = []
    for place in ENVIRONMENT:
        mount = place
        while not mount.is_mount():
            mount = mount.parent
        if mount != Path("/"):
            lines += [f"mkdir -p {root}{mount}", f"mount --rbind {mount} {root}{mount}"]
        closed = [path for path in place.parents if path.stat().st_mode & 0o005 != 0o005]
        lines += [f"chmod o+rx {root}{path}" for path in closed]
    return lines


def _uncovered(plan: ContainerPlan) -> list[str]:
    """Bring back what a volume lies over: a checkout below /tmp, where that is an emptyDir."""
    volumes = [Path(mount["mountPath"]) for mount in plan.spec.get("volumeMounts", [])]
    lines = []
    for place in ENVIRONMENT:
        if any(place.is_relative_to(volume) for volume in volumes):
            inside = f"{plan.files.root}{place}"
            lines += [f"mkdir -p {inside}", f"mount --rbind {place} {inside}"]
    return lines


def _mount(plan: ContainerPlan, mount: Object) -> list[str]:
    volume = plan.volumes[mount["name"]]
    source = volume.path / mount.get("subPath", "")
    path = mount["mountPath"]
    target = f"{plan.files.root}{path}"
    made = plan.files.upper / path.lstrip("/")
    if source.is_file():
        _write(made, "")
    else:
        source.mkdir(exist_ok=True)
        made.mkdir(parents=True, exist_ok=True)
    lines = [f"mount --bind {source} {target}"]
    if volume.read_only or mount.get("readOnly"):
        lines.append(f"mount -o remount,ro,bind {target}")
    return lines


def _as_user(plan: ContainerPlan) -> list[str]:
    security = plan.security
    user = security.get("runAsUser", IMAGE_USER)
    if user == 0 and security.get("runAsNonRoot"):
        raise SandboxError("container has runAsNonRoot and would run as root")
    become = ["setpriv", f"--reuid={user}", f"--regid={security.get('runAsGroup', user)}"]
    extra = security.get("fsGroup")
    become.append("--clear-groups" if extra is None else f"--groups={extra}")
    if "ALL" in security.get("capabilities", {}).get("drop", []):
        become += ["--bounding-set=-all", "--inh-caps=-all"]
    if security.get("allowPrivilegeEscalation") is False:
        become.append("--no-new-privs")
    variables = {"PATH": PATH, "PYTHONDONTWRITEBYTECODE": "1", **plan.environment}
    return [*become, "env", "-i", *(f"{key}={value}" for key, value in variables.items())]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


async def shell(*commands: str) -> None:
    """Run commands; a SandboxError says what the first that failed wrote."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-euc", "\n".join(commands)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise SandboxError(f"{commands[0]} ...: {output.decode(errors='replace').strip()}")
