{{/* Names, labels and images: the only place where they are put together. */}}

{{- define "alise.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Prefix of every object's name. 40 characters leave room for suffixes below the limit of 63. */}}
{{- define "alise.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "alise.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Name of an object of the cluster as a whole: two namespaces may hold releases of one name. */}}
{{- define "alise.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "alise.fullname" .) | trunc 200 | trimSuffix "-" -}}
{{- end -}}

{{- define "alise.gateway.name" -}}{{ include "alise.fullname" . }}-gateway{{- end -}}
{{- define "alise.operator.name" -}}{{ include "alise.fullname" . }}-operator{{- end -}}

{{/* What selects pods. Never changes between versions: a Deployment's selector is immutable.
     Call with (dict "root" $ "component" "gateway"). */}}
{{- define "alise.selectorLabels" -}}
app.kubernetes.io/name: {{ include "alise.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* The same for a client that takes a selector as text. */}}
{{- define "alise.selector" -}}
app.kubernetes.io/name={{ include "alise.name" .root }},app.kubernetes.io/instance={{ .root.Release.Name }},app.kubernetes.io/component={{ .component }}
{{- end -}}

{{- define "alise.labels" -}}
{{ include "alise.selectorLabels" . }}
app.kubernetes.io/part-of: alise
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Of pods; without versions, so that a chart that changes nothing else does not roll them. */}}
{{- define "alise.podLabels" -}}
{{ include "alise.selectorLabels" . }}
app.kubernetes.io/part-of: alise
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "alise.gateway.serviceAccountName" -}}
{{- if .Values.gateway.serviceAccount.create -}}
{{- default (include "alise.gateway.name" .) .Values.gateway.serviceAccount.name -}}
{{- else -}}
{{- required "gateway.serviceAccount.name: name an existing ServiceAccount, or let the chart create one with gateway.serviceAccount.create: true" .Values.gateway.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "alise.operator.serviceAccountName" -}}
{{- if .Values.operator.serviceAccount.create -}}
{{- default (include "alise.operator.name" .) .Values.operator.serviceAccount.name -}}
{{- else -}}
{{- required "operator.serviceAccount.name: name an existing ServiceAccount, or let the chart create one with operator.serviceAccount.create: true" .Values.operator.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Call with (dict "root" $ "image" .Values.gateway.image). A digest wins over a tag. */}}
{{- define "alise.image" -}}
{{- $registry := .root.Values.image.registry -}}
{{- $repository := .image.repository -}}
{{- if $registry -}}{{- $repository = printf "%s/%s" (trimSuffix "/" $registry) $repository -}}{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "alise.adminSecretName" -}}
{{- default (printf "%s-admin" (include "alise.gateway.name" .)) .Values.gateway.adminToken.existingSecret -}}
{{- end -}}
