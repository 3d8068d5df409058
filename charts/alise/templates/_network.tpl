{{/* What every process of ALISE needs: names and the API server. */}}
{{- define "alise.network.base" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
- ports:
    {{- range .Values.networkPolicy.apiServer.ports }}
    - port: {{ . }}
    {{- end }}
  {{- with .Values.networkPolicy.apiServer.cidrs }}
  to:
    {{- range . }}
    - ipBlock:
        cidr: {{ . }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* Pods of this namespace, or of every one, on the engines' ports. */}}
{{- define "alise.network.toEngines" -}}
- ports:
    {{- range .Values.networkPolicy.enginePorts }}
    - port: {{ . }}
    {{- end }}
  to:
    {{- if .Values.clusterWide }}
    - namespaceSelector: {}
    {{- else }}
    - podSelector: {}
    {{- end }}
{{- end -}}
