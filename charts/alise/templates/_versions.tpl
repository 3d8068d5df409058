{{/* API versions by the version of the cluster, because `helm template` knows no API lists. */}}

{{- define "alise.pdb.apiVersion" -}}
{{- if semverCompare ">=1.21-0" .Capabilities.KubeVersion.Version -}}policy/v1{{- else -}}policy/v1beta1{{- end -}}
{{- end -}}

{{- define "alise.hpa.apiVersion" -}}
{{- if semverCompare ">=1.23-0" .Capabilities.KubeVersion.Version -}}autoscaling/v2{{- else -}}autoscaling/v2beta2{{- end -}}
{{- end -}}

{{/* A wait before SIGTERM. Call with (dict "root" $ "seconds" 10). */}}
{{- define "alise.preStop" -}}
preStop:
  {{- if semverCompare ">=1.30-0" .root.Capabilities.KubeVersion.Version }}
  sleep:
    seconds: {{ .seconds }}
  {{- else }}
  exec:
    command: ["sleep", {{ .seconds | quote }}]
  {{- end }}
{{- end -}}
