"""What a pod is given: environment variables and directories of files.

Files are written once, when the pod starts: a ConfigMap or Secret that changes later does not
change them, unlike on a real node, which follows after a minute.
"""

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from running.node.client import Client

Object = dict[str, Any]
READ_ONLY_KINDS = ("secret", "configMap", "projected", "downwardAPI")


class NotYet(Exception):
    """Something that the pod refers to does not exist; it is waited for."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A directory that a container may mount."""

    path: Path
    read_only: bool


class Provisions:
    """Looks up what the objects of one pod's namespace hold."""

    def __init__(self, client: Client, pod: Object, address: str) -> None:
        self._client = client
        self._pod = pod
        self._address = address
        self._namespace = pod["metadata"]["namespace"]

    async def volumes(self, directory: Path) -> dict[str, Volume]:
        """Write all volumes of the pod below a directory.

        Raises:
            NotYet: A ConfigMap or Secret is missing.
        """
        made = {}
        group = self._pod["spec"].get("securityContext", {}).get("fsGroup")
        for volume in self._pod["spec"].get("volumes", []):
            path = directory / volume["name"]
            path.mkdir(parents=True, exist_ok=True)
            kind = next(key for key in volume if key != "name")
            files = await self._files(kind, volume[kind] or {})
            for name, content in files.items():
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                (path / name).write_bytes(content)
            path.chmod(0o755 if kind in READ_ONLY_KINDS else 0o777)
            if group is not None:
                _hand_over(path, group)
            made[volume["name"]] = Volume(path, kind in READ_ONLY_KINDS)
        return made

    async def environment(self, container: Object) -> dict[str, str]:
        """The container's variables, references resolved.

        Raises:
            NotYet: A ConfigMap or Secret is missing.
        """
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            kind = "secret" if "secretRef" in source else "configMap"
            reference = source[f"{kind}Ref"]
            files = await self._data(kind, reference["name"], bool(reference.get("optional")))
            prefix = source.get("prefix", "")
            found |= {prefix + key: value.decode() for key, value in files.items()}
        for item in container.get("env", []):
            if "valueFrom" in item:
                value = await self._value(item["valueFrom"], container)
            else:
                value = expand(item.get("value", ""), found)
            if value is not None:
                found[item["name"]] = value
        return found

    async def _value(self, source: Object, container: Object) -> str | None:
        if "fieldRef" in source:
            return self.field(source["fieldRef"]["fieldPath"])
        if "resourceFieldRef" in source:
            kind, _, name = source["resourceFieldRef"]["resource"].partition(".")
            return str(container.get("resources", {}).get(kind, {}).get(name, "0"))
        kind = "secret" if "secretKeyRef" in source else "configMap"
        reference = source[f"{kind}KeyRef"]
        optional = bool(reference.get("optional"))
        data = await self._data(kind, reference["name"], optional)
        if reference["key"] in data:
            return data[reference["key"]].decode()
        if optional:
            return None
        raise NotYet(f"{kind} {reference['name']} has no {reference['key']}")

    def field(self, path: str) -> str:
        """A field of the pod, by its path in the downward API."""
        metadata = self._pod["metadata"]
        entry = re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path)
        if entry:
            return str(metadata.get(entry[1], {}).get(entry[2], ""))
        known: Mapping[str, str] = {
            "metadata.name": metadata["name"],
            "metadata.namespace": metadata["namespace"],
            "metadata.uid": metadata["uid"],
            "spec.nodeName": self._pod["spec"]["nodeName"],
            "spec.serviceAccountName": self._pod["spec"].get("serviceAccountName", "default"),
            "status.podIP": self._address,
            "status.hostIP": "10.244.0.1",
        }
        return known[path]

    async def _files(self, kind: str, volume: Object) -> dict[str, bytes]:
        if kind == "emptyDir":
            return {}
        if kind == "projected":
            files: dict[str, bytes] = {}
            for source in volume["sources"]:
                inner = next(iter(source))
                files |= await self._files(inner, source[inner])
            return files
        if kind == "serviceAccountToken":
            return {volume["path"]: (await self._token(volume)).encode()}
        if kind == "downwardAPI":
            fields = {item["path"]: item["fieldRef"]["fieldPath"] for item in volume["items"]}
            return {path: self.field(field).encode() for path, field in fields.items()}
        if kind not in {"secret", "configMap"}:
            raise NotYet(f"volumes of kind {kind} are not made here")
        name = volume.get("secretName") or volume["name"]
        data = await self._data(kind, name, bool(volume.get("optional")))
        if "items" in volume:
            return {item["path"]: data[item["key"]] for item in volume["items"]}
        return data

    async def _token(self, volume: Object) -> str:
        metadata = self._pod["metadata"]
        account = self._pod["spec"].get("serviceAccountName", "default")
        bound = {"apiVersion": "v1", "kind": "Pod"}
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [volume["audience"]] if volume.get("audience") else [],
                "expirationSeconds": volume.get("expirationSeconds", 3_600),
                "boundObjectRef": {**bound, "name": metadata["name"], "uid": metadata["uid"]},
            },
        }
        path = f"/api/v1/namespaces/{self._namespace}/serviceaccounts/{account}/token"
        answer = await self._client.post(path, request)
        if answer is None:
            raise NotYet(f"no token for ServiceAccount {account}")
        token: str = answer["status"]["token"]
        return token

    async def _data(self, kind: str, name: str, optional: bool) -> dict[str, bytes]:
        plural = {"secret": "secrets", "configMap": "configmaps"}[kind]
        found = await self._client.get(f"/api/v1/namespaces/{self._namespace}/{plural}/{name}")
        if found is None:
            if optional:
                return {}
            raise NotYet(f"{kind} {name} does not exist")
        binary = found.get("data", {}) if kind == "secret" else found.get("binaryData", {})
        data = {key: base64.b64decode(value) for key, value in binary.items()}
        if kind == "configMap":
            data |= {key: value.encode() for key, value in found.get("data", {}).items()}
        return data


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` where the variable is known; ``$$`` is a dollar sign."""

    def replacement(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return variables.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)", replacement, text)


def _hand_over(path: Path, group: int) -> None:
    for item in (path, *path.rglob("*")):
        os.chown(item, -1, group)
