{{/* The gateway's settings file: what the chart decides, with gateway.config laid over it. */}}
{{- define "alise.gateway.config" -}}
{{- $given := .Values.gateway.config | default dict -}}
{{- range $field, $value := dict "host" "gateway.host" "port" "gateway.ports.http" "admin_host" "gateway.host" "admin_port" "gateway.ports.admin" "admin_token_file" "gateway.adminToken" "kubernetes" "gateway.kubernetes" -}}
{{- if hasKey $given $field -}}
{{- fail (printf "gateway.config.%s: the chart sets it, because Services, probes and RBAC depend on it; use %s" $field $value) -}}
{{- end -}}
{{- end -}}
{{- if eq (int .Values.gateway.ports.http) (int .Values.gateway.ports.admin) -}}
{{- fail (printf "gateway.ports: http and admin are both %d; the admin port needs one of its own" (int .Values.gateway.ports.http)) -}}
{{- end -}}
{{- $ours := dict
  "host" .Values.gateway.host
  "port" (int .Values.gateway.ports.http)
  "admin_host" .Values.gateway.host
  "admin_port" (int .Values.gateway.ports.admin)
  "predictor" (dict "snapshot_file" "/var/lib/alise/learned.bin")
  "timeouts" (dict "linger_seconds" 5)
-}}
{{- if .Values.gateway.adminToken.enabled -}}
{{- $_ := set $ours "admin_token_file" "/run/alise/token" -}}
{{- end -}}
{{- if .Values.gateway.kubernetes.enabled -}}
{{- $_ := set $ours "kubernetes" (dict
  "enabled" true
  "all_namespaces" .Values.clusterWide
  "peers_selector" (include "alise.selector" (dict "root" . "component" "gateway"))
  "serve_inference_pools" .Values.gateway.kubernetes.serveInferencePools
  "serve_picked_inference_pools" .Values.gateway.kubernetes.servePickedInferencePools
) -}}
{{- end -}}
{{- mergeOverwrite $ours (deepCopy $given) | toYaml -}}
{{- end -}}

{{/* How long a pod may take to stop: the wait before SIGTERM, the linger, the drain (120 s where nothing is said), and
     some time to write the snapshot and close. */}}
{{- define "alise.gateway.gracePeriod" -}}
{{- $timeouts := (include "alise.gateway.config" . | fromYaml).timeouts -}}
{{- $linger := $timeouts.linger_seconds | float64 | ceil | int -}}
{{- $drain := $timeouts.drain_seconds | default 120 | float64 | ceil | int -}}
{{- add (int .Values.gateway.preStopSeconds) $linger $drain 20 -}}
{{- end -}}

{{- define "alise.gateway.autoscaled" -}}
{{- if ne .Values.gateway.autoscaling.by "none" -}}true{{- end -}}
{{- end -}}

{{/* A volume that one node at a time can mount: several gateways cannot share it. */}}
{{- define "alise.gateway.exclusiveVolume" -}}
{{- $volume := .Values.gateway.snapshots.persistentVolume -}}
{{- if and $volume.enabled (not (has "ReadWriteMany" $volume.accessModes)) -}}
{{- if or (include "alise.gateway.autoscaled" .) (gt (int .Values.gateway.replicas) 1) -}}
{{- fail (printf "gateway.snapshots.persistentVolume.accessModes: %s can be mounted by one node only; use [ReadWriteMany], or gateway.replicas: 1 without autoscaling" (toJson $volume.accessModes)) -}}
{{- end -}}
true
{{- end -}}
{{- end -}}
