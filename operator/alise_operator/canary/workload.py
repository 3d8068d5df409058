"""What owns a pool's pods, and the fields of it that a change of arguments is made of. Pure.

A Deployment or a StatefulSet as the API server shows it goes in; out come the fields that would
change (``Fields``), and refusals: owners that are not understood, fields that somebody else keeps
as they are. Nothing of somebody else's is ever forced.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from alise_operator.canary.arguments import Argument, read_argument, write_argument
from alise_operator.canary.quantities import bytes_of, quantity_of
from alise_operator.canary.words import CommandLine, Refused
from alise_operator.decide.raw import mapping_at, sequence_at, text_at
from alise_operator.tuning.commands import MEMORY_FACTOR

FIELD_MANAGER = "alise-operator"
_SHM = "/dev/shm"  # noqa: S108  a mount path, no file is written
_KEEPERS = frozenset({
    "argocd-controller",
    "argocd-application-controller",
    "kustomize-controller",
    "helm-controller",
})  # fmt: skip
_KEEPER_MARKS = (
    "argocd.argoproj.io/tracking-id",
    "kustomize.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/name",
)
_MOST_LINE_CHARS = 32_768

Raw = Mapping[str, object]


class WorkloadKind(StrEnum):
    """What pods are changed through."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"


@dataclass(frozen=True, slots=True)
class Owner:
    """A workload by name."""

    kind: WorkloadKind
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Fields:
    """What a change touches in a pod template; ``None`` is absent."""

    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    memory_limit: str | None = None
    memory_request: str | None = None
    shm_size: str | None = None

    @property
    def line(self) -> CommandLine:
        """The container's command line."""
        return CommandLine(self.command, self.args)


@dataclass(frozen=True, slots=True)
class TierSize:
    """A host tier that grows or shrinks.

    Attributes:
        before_bytes: As it is.
        after_bytes: As it becomes.
        in_shm: It lies in ``/dev/shm``, as vLLM's own does.
    """

    before_bytes: int
    after_bytes: int
    in_shm: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """What an argument should be.

    Attributes:
        argument: Which.
        value: As ``read_argument`` gives it.
        same: Values that mean the same; ``None`` where it may as well be left out.
    """

    argument: Argument
    value: str
    same: tuple[str | None, ...] = ()

    def is_in(self, line: CommandLine) -> bool:
        """It is as it should be.

        Raises:
            Refused: That cannot be said.
        """
        return read_argument(line, self.argument) in {self.value, *self.same}


def owner_of(pods: Iterable[Raw], replica_sets: Mapping[str, Raw]) -> Owner:
    """The one workload that owns all pods.

    Args:
        pods: As the API server shows them.
        replica_sets: By uid.

    Raises:
        Refused: There is none, more than one, or one of another kind.
    """
    owners = {_owner(pod, replica_sets) for pod in pods}
    if len(owners) != 1:
        names = ", ".join(sorted(f"{owner.kind} {owner.name}" for owner in owners)) or "none"
        raise Refused(f"the pool's pods must belong to one workload; found: {names}")
    return owners.pop()


def _owner(pod: Raw, replica_sets: Mapping[str, Raw]) -> Owner:
    name = text_at(mapping_at(pod, "metadata"), "name")
    reference = _controller(pod)
    if text_at(reference, "kind") == "ReplicaSet":
        replica_set = replica_sets.get(text_at(reference, "uid"))
        if replica_set is None:
            raise Refused(f"the ReplicaSet of pod {name} is not known yet")
        reference = _controller(replica_set) or reference
    kind, version = text_at(reference, "kind"), text_at(reference, "apiVersion")
    if kind not in set(WorkloadKind) or version != "apps/v1":
        shown = f"{kind} ({version})" if kind else "nothing"
        raise Refused(
            f"pod {name} is owned by {shown}: only Deployments and StatefulSets are changed"
        )
    return Owner(WorkloadKind(kind), text_at(reference, "name"), text_at(reference, "uid"))


def _controller(raw: Raw) -> Raw:
    references = sequence_at(mapping_at(raw, "metadata"), "ownerReferences")
    return next((one for one in references if one.get("controller") is True), {})


def vllm_container(template: Raw) -> str:
    """The name of the container that runs vLLM.

    Raises:
        Refused: That is not clear.
    """
    containers = sequence_at(mapping_at(template, "spec"), "containers")
    running = [one for one in containers if any("vllm" in word for word in _line(one).whole)]
    named = [one for one in containers if text_at(one, "name") == "vllm"]
    for found in (containers, running, named):
        if len(found) == 1:
            return text_at(found[0], "name")
    names = ", ".join(text_at(one, "name") for one in containers)
    raise Refused(f"which of the containers {names} runs vLLM is not clear: name it 'vllm'")


def fields_of(template: Raw, container: str) -> Fields:
    """The fields of a pod, or of a pod template, that a change may touch."""
    found = _container(template, container)
    line = _line(found)
    resources = mapping_at(found, "resources")
    volume = _shm_volume(template, found)
    size = mapping_at(volume, "emptyDir").get("sizeLimit")
    limit = mapping_at(resources, "limits").get("memory")
    request = mapping_at(resources, "requests").get("memory")
    return Fields(line.command, line.args, *map(_text, (limit, request, size)))


def changed_fields(
    template: Raw, container: str, settings: Sequence[Setting], tier: TierSize | None
) -> Fields:
    """The fields as they become.

    Raises:
        Refused: They cannot be changed with certainty.
    """
    fields = fields_of(template, container)
    line = fields.line
    if sum(map(len, line.whole)) > _MOST_LINE_CHARS:
        raise Refused(f"the command line has more than {_MOST_LINE_CHARS} characters")
    for setting in settings:
        line = write_argument(line, setting.argument, setting.value)
    limit, request, shm = fields.memory_limit, fields.memory_request, fields.shm_size
    if tier is not None:
        more = MEMORY_FACTOR * (tier.after_bytes - tier.before_bytes)
        limit, request = _grown(limit, more), _grown(request, more)
        shm = _shm_size(template, container, shm, tier)
    return Fields(line.command, line.args, limit, request, shm)


def has_settings(fields: Fields, settings: Iterable[Setting]) -> bool:
    """The arguments are as wanted; not, where they cannot be read."""
    try:
        return all(setting.is_in(fields.line) for setting in settings)
    except Refused:
        return False


def without_ours(now: Fields, before: Fields, after: Fields, settings: Iterable[Setting]) -> Fields:
    """The fields as somebody else left them, without what is in them of a change of ours."""
    line = now.line
    if now.line == after.line:
        line = before.line
    for setting in settings if line == now.line else ():
        try:
            if read_argument(line, setting.argument) == setting.value:
                old = read_argument(before.line, setting.argument)
                line = write_argument(line, setting.argument, old)
        except Refused:
            # They made it into something that is not understood: theirs.
            continue
    return Fields(
        line.command,
        line.args,
        before.memory_limit if now.memory_limit == after.memory_limit else now.memory_limit,
        before.memory_request if now.memory_request == after.memory_request else now.memory_request,
        before.shm_size if now.shm_size == after.shm_size else now.shm_size,
    )


def same_line(one: Fields, other: Fields) -> bool:
    """Both start vLLM alike. A pod's resources may be another's work (an admission webhook's)."""
    return one.line == other.line


def template_patch(template: Raw, container: str, before: Fields, after: Fields) -> Raw:
    """A strategic merge patch of ``spec.template`` that makes ``after`` of ``before``."""
    patch: dict[str, object] = {"name": container}
    if before.command != after.command:
        patch["command"] = _listed(after.command)
    if before.args != after.args:
        patch["args"] = _listed(after.args)
    resources = {
        part: {"memory": value}
        for part, old, value in (
            ("limits", before.memory_limit, after.memory_limit),
            ("requests", before.memory_request, after.memory_request),
        )
        if old != value
    }
    if resources:
        patch["resources"] = resources
    spec: dict[str, object] = {"containers": [patch]} if len(patch) > 1 else {}
    if before.shm_size != after.shm_size:
        volume = text_at(_shm_volume(template, _container(template, container)), "name")
        spec["volumes"] = [{"name": volume, "emptyDir": {"sizeLimit": after.shm_size}}]
    return {"spec": spec}


def others_fingerprint(template: Raw, container: str) -> str:
    """Stands for everything in a template but the fields that a change touches."""
    fields = fields_of(template, container)
    copy = json.loads(json.dumps(template))
    for one in sequence_at(mapping_at(copy, "spec"), "containers"):
        if text_at(one, "name") == container:
            _strip(one, fields)
    volume = _shm_volume(copy, _container(template, container))
    _drop(mapping_at(volume, "emptyDir"), "sizeLimit")
    packed = json.dumps(copy, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(packed.encode()).hexdigest()[:16]


def keeper_of(workload: Raw, container: str, before: Fields, after: Fields) -> str | None:
    """Who keeps the fields as they are, in words; ``None`` where nobody does.

    One who applied them once (kubectl, Helm) does not put them back. One who applies them again
    and again does: a change would be undone, and the two would fight.
    """
    metadata = mapping_at(workload, "metadata")
    for mark in _KEEPER_MARKS:
        if mark in mapping_at(metadata, "labels") or mark in mapping_at(metadata, "annotations"):
            return f"it is managed through {mark}: change it where it comes from"
    names = _touched(before, after)
    for entry in sequence_at(metadata, "managedFields"):
        manager = text_at(entry, "manager")
        keeps = text_at(entry, "operation") == "Apply" or manager in _KEEPERS
        if manager == FIELD_MANAGER or not keeps:
            continue
        held = _held(mapping_at(entry, "fieldsV1"), container) & names
        if held:
            fields = ", ".join(sorted(name.removeprefix("f:") for name in held))
            return f"{manager[:80]} applies its {fields}: change them where they come from"
    return None


def _touched(before: Fields, after: Fields) -> set[str]:
    names = {"f:command"} if before.command != after.command else set()
    if before.args != after.args:
        names.add("f:args")
    old = (before.memory_limit, before.memory_request)
    if old != (after.memory_limit, after.memory_request):
        names.add("f:resources")
    return names


def _held(fields: Raw, container: str) -> set[str]:
    for name in ("f:spec", "f:template", "f:spec", "f:containers"):
        fields = mapping_at(fields, name)
    key = f"k:{json.dumps({'name': container}, separators=(',', ':'))}"
    return set(mapping_at(fields, key))


def _container(template: Raw, name: str) -> Raw:
    containers = sequence_at(mapping_at(template, "spec"), "containers")
    return next((one for one in containers if text_at(one, "name") == name), {})


def _line(container: Raw) -> CommandLine:
    return CommandLine(_words(container.get("command")), _words(container.get("args")))


def _words(raw: object) -> tuple[str, ...] | None:
    return tuple(map(str, raw)) if isinstance(raw, list) else None


def _listed(words: tuple[str, ...] | None) -> list[str] | None:
    return None if words is None else list(words)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _grown(quantity: str | None, more: float) -> str | None:
    """Without a limit there is nothing to raise."""
    return None if quantity is None else quantity_of(max(1, bytes_of(quantity) + int(more)))


def _shm_size(template: Raw, container: str, size: str | None, tier: TierSize) -> str | None:
    if not tier.in_shm:
        return size
    if not _shm_volume(template, _container(template, container)):
        raise Refused(f"the tier lies in {_SHM}: mount an emptyDir of medium Memory there")
    needed = int(MEMORY_FACTOR * tier.after_bytes)
    if size is None or bytes_of(size) >= needed:
        return size
    return quantity_of(needed)


def _shm_volume(template: Raw, container: Raw) -> Raw:
    """The memory that is mounted at ``/dev/shm``; empty where there is none."""
    mounts = sequence_at(container, "volumeMounts")
    names = {text_at(one, "name") for one in mounts if text_at(one, "mountPath") == _SHM}
    volumes = sequence_at(mapping_at(template, "spec"), "volumes")
    return next((one for one in volumes if text_at(one, "name") in names and "emptyDir" in one), {})


def _strip(container: Raw, fields: Fields) -> None:
    _drop(container, "command")
    _drop(container, "args")
    resources = mapping_at(container, "resources")
    if fields.memory_limit is not None:
        _drop(mapping_at(resources, "limits"), "memory")
    if fields.memory_request is not None:
        _drop(mapping_at(resources, "requests"), "memory")


def _drop(raw: Raw, name: str) -> None:
    if isinstance(raw, dict):
        raw.pop(name, None)
