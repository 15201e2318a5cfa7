{{/* The operator's rights over graphs and over what it makes for them; a ClusterRole or a Role by `scope`.
     Each object is applied (create, patch); only what may become unwanted while its graph lives is deleted. No Secrets. */}}
{{- define "slipstream.rules" -}}
- apiGroups: [slipstream.dev]
  resources: [replicatedgraphdbs]
  verbs: [get, list, watch, patch]
- apiGroups: [slipstream.dev]
  resources: [replicatedgraphdbs/status]
  verbs: [patch]
# To be named as an owner where the API server checks that an owner may be blocked.
- apiGroups: [slipstream.dev]
  resources: [replicatedgraphdbs/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: [list, watch, create, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# To grow a writer's volume.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, watch, patch]
- apiGroups: [apps]
  resources: [statefulsets, deployments]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, watch, create, patch, delete]
# Clean-up of what a deleted graph leaves outside the cluster.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, create, patch, delete]
# Only used where the Prometheus Operator is installed.
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* What has no namespace: whether a writer's volume may grow is up to its storage class. */}}
{{- define "slipstream.clusterRules" -}}
- apiGroups: [storage.k8s.io]
  resources: [storageclasses]
  verbs: [get]
{{- end }}
