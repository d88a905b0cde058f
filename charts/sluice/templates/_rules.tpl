{{/* What the operator does in the namespaces that it serves. Rules can name Secrets but not select them by type: whoever
     may follow certificates may read every Secret of the namespace. */}}
{{- define "sluice.rules" -}}
- apiGroups: [sluice.dev]
  resources: [grpcservices]
  verbs: [get, list, watch, patch]
- apiGroups: [sluice.dev]
  resources: [grpcpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [sluice.dev]
  resources: [grpcservices/status, grpcpolicies/status]
  verbs: [patch]
# What a GrpcService becomes.
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways, listenersets, grpcroutes, referencegrants]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes, tlsroutes, tcproutes, udproutes, backendtlspolicies]
  verbs: [get, list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources:
    [gateways/status, listenersets/status, grpcroutes/status, httproutes/status, tlsroutes/status, tcproutes/status,
     udproutes/status, backendtlspolicies/status]
  verbs: [patch]
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: [get, list, watch, create, patch, delete]
# Certificates, authorities, and what the proxies of a Gateway are made of.
- apiGroups: [""]
  resources: [secrets, configmaps, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments, daemonsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# Which proxies take calls, and on which nodes they are.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* What only a whole cluster has. */}}
{{- define "sluice.clusterRules" -}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses]
  verbs: [get, list, watch, create]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses/status]
  verbs: [patch]
- apiGroups: [sluice.dev]
  resources: [gatewayprofiles]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
{{- end }}

{{/* What it keeps in its own namespace. A rule on create cannot name an object, but one that is applied has its name. */}}
{{- define "sluice.ownRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "sluice.name" . }}]
  verbs: [get, update]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  resourceNames: [{{ include "sluice.name" . }}-xds]
  verbs: [create, patch]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [sluice-xds-ca]
  verbs: [update]
{{- end }}
