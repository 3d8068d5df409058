"""The definitions as templates of the Helm chart. Pure: text in, text out.

``crds.install`` and ``crds.keep`` of the chart's values say whether they are applied, and whether
they outlive the release. Rules are inside gates on the API server's version: kubectl and Helm
refuse fields that it does not know.
"""

from collections.abc import Iterator

from alise_core.crds.as_yaml import as_yaml
from alise_core.crds.definition import custom_resource_definition
from alise_core.crds.names import PLURALS, Kind
from alise_core.crds.rules import FIELD_PATH, VALIDATIONS
from alise_core.crds.schema import FIELD_PATH_SINCE, RULES_SINCE

HEADER = """\
{{- /* Written by 'make crds' from core/alise_core/crds: change the models, not this file. */}}
"""
_METADATA = """\
  labels:
    app.kubernetes.io/name: alise
    app.kubernetes.io/managed-by: {{ .Release.Service }}
  {{- if .Values.crds.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
"""


def template_name(kind: Kind) -> str:
    """The file in ``templates/crds``."""
    return f"{PLURALS[kind]}.yaml"


def template(kind: Kind) -> str:
    """One file of ``templates/crds``."""
    text = as_yaml(custom_resource_definition(kind))
    lines = list(_gated(text.splitlines(keepends=True)))
    end_of_metadata = lines.index("spec:\n")
    lines.insert(end_of_metadata, _METADATA)
    return HEADER + "{{- if .Values.crds.install }}\n" + "".join(lines) + "{{- end }}\n"


def _gated(lines: list[str]) -> Iterator[str]:
    inside: int | None = None
    for line in lines:
        indent = len(line) - len(line.lstrip(" "))
        if inside is not None and indent <= inside:
            inside = None
            yield "{{- end }}\n"
        if line.strip() == f"{VALIDATIONS}:":
            inside = indent
            yield _gate(RULES_SINCE)
        if line.strip().startswith(f"{FIELD_PATH}: "):
            yield f"{_gate(FIELD_PATH_SINCE)}{line}" + "{{- end }}\n"
        else:
            yield line
    if inside is not None:
        yield "{{- end }}\n"


def _gate(minor: int) -> str:
    return f'{{{{- if semverCompare ">=1.{minor}-0" .Capabilities.KubeVersion.Version }}}}\n'
