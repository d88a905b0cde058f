{{- define "sluice.name" -}}
{{- if contains "sluice" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-sluice{{ end -}}
{{- end }}

{{/* What selects the operator's pods: it can never change. */}}
{{- define "sluice.selector" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/component: operator
{{- end }}

{{- define "sluice.labels" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* An image of the values, with the chart's appVersion for what they leave out. */}}
{{- define "sluice.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}
{{- else }}{{ $image.repository }}:{{ $image.tag | default (index . 1).Chart.AppVersion }}{{ end -}}
{{- end }}

{{/* The namespaces that a namespaced install works in, the release's own among them. */}}
{{- define "sluice.namespaces" -}}
{{- if .Values.watchNamespaces }}{{ append .Values.watchNamespaces .Release.Namespace | uniq | sortAlpha | toJson }}{{ else }}[]{{ end -}}
{{- end }}

{{/* Whether there is a shared Gateway: nothing can be added to one where ListenerSets are not served. */}}
{{- define "sluice.shared" -}}
{{- if and .Values.defaultGateway.enabled (.Capabilities.APIVersions.Has "gateway.networking.k8s.io/v1/ListenerSet") }}true{{ end -}}
{{- end }}

{{/* The GatewayProfile's spec. */}}
{{- define "sluice.profile" -}}
{{- $default := dict -}}
{{- if include "sluice.shared" . -}}
{{- $default = dict "defaultGateway" (dict "namespace" .Release.Namespace "name" .Values.defaultGateway.name) -}}
{{- end -}}
{{- mergeOverwrite $default .Values.profile | toYaml -}}
{{- end }}

{{- define "sluice.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "sluice.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}
