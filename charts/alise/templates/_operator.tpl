{{/* The operator's settings are few: its environment is all of them. */}}
{{- define "alise.operator.env" -}}
- name: ALISE_OPERATOR_IDENTITY
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: ALISE_OPERATOR_METRICS_HOST
  value: {{ .Values.gateway.host | quote }}
- name: ALISE_OPERATOR_METRICS_PORT
  value: {{ .Values.operator.metricsPort | quote }}
- name: ALISE_OPERATOR_LEASE_NAME
  value: {{ include "alise.operator.name" . | quote }}
- name: ALISE_OPERATOR_GATEWAY_SERVICE
  value: {{ include "alise.gateway.name" . | quote }}
- name: ALISE_OPERATOR_GATEWAY_SELECTOR
  value: {{ include "alise.selector" (dict "root" . "component" "gateway") | quote }}
- name: ALISE_OPERATOR_GATEWAY_METRICS_PORT
  value: {{ .Values.gateway.ports.admin | quote }}
- name: ALISE_OPERATOR_SERVE_INFERENCE_POOLS
  value: {{ .Values.gateway.kubernetes.serveInferencePools | quote }}
- name: ALISE_OPERATOR_SERVE_PICKED_INFERENCE_POOLS
  value: {{ .Values.gateway.kubernetes.servePickedInferencePools | quote }}
- name: ALISE_OPERATOR_CHANGE_WORKLOADS
  value: {{ .Values.operator.autoTuning.enabled | quote }}
- name: ALISE_OPERATOR_LOG_LEVEL
  value: {{ .Values.operator.logLevel | quote }}
{{- if .Values.clusterWide }}
- name: ALISE_OPERATOR_ALL_NAMESPACES
  value: "true"
{{- end }}
{{- end -}}
