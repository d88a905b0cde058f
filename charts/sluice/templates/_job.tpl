{{/* The pod of a hook: name, arguments, service account, root context. */}}
{{- define "sluice.job" -}}
{{- $root := index . 3 -}}
backoffLimit: 3
activeDeadlineSeconds: 100
template:
  metadata:
    labels:
      app.kubernetes.io/name: sluice
      app.kubernetes.io/component: {{ index . 0 }}
  spec:
    restartPolicy: Never
    serviceAccountName: {{ index . 2 }}
    automountServiceAccountToken: true
    {{- with $root.Values.imagePullSecrets }}
    imagePullSecrets: {{- toYaml . | nindent 6 }}
    {{- end }}
    securityContext: {{- include "sluice.podSecurity" $root | nindent 6 }}
    containers:
      - name: {{ index . 0 }}
        image: {{ include "sluice.image" (list $root.Values.image $root) | quote }}
        imagePullPolicy: {{ $root.Values.image.pullPolicy }}
        args: {{ index . 1 | toJson }}
        env:
          - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
          - {name: SLUICE_LEASE, value: {{ include "sluice.name" $root | quote }}}
          {{- if $root.Values.watchNamespaces }}
          - {name: SLUICE_WATCH_NAMESPACES, value: {{ include "sluice.namespaces" $root | fromJsonArray | join "," | quote }}}
          {{- end }}
        securityContext: {{- include "sluice.containerSecurity" $root | nindent 10 }}
    {{- with $root.Values.nodeSelector }}
    nodeSelector: {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $root.Values.tolerations }}
    tolerations: {{- toYaml . | nindent 6 }}
    {{- end }}
{{- end }}

{{/* Of an object that is there for a hook alone: events, weight. */}}
{{- define "sluice.hook" -}}
helm.sh/hook: {{ index . 0 }}
helm.sh/hook-weight: {{ index . 1 | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
