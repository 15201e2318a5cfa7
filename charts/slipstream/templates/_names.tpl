{{/* Names, labels and images, each in one place. */}}

{{/* Name of the operator's objects. */}}
{{- define "slipstream.name" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if has .Release.Name (list "slipstream" "slipstream-operator") -}}
slipstream-operator
{{- else -}}
{{ printf "%s-slipstream-operator" .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* Name of what has no namespace: two releases that watch one namespace each must not meet in it. */}}
{{- define "slipstream.clusterName" -}}
{{- if eq .Values.scope "Namespace" -}}
{{ include "slipstream.name" . }}-{{ .Release.Namespace }}
{{- else -}}
{{ include "slipstream.name" . }}
{{- end -}}
{{- end }}

{{/* What selects the operator's pods; graphs' pods are named `slipstream`. */}}
{{- define "slipstream.selector" -}}
app.kubernetes.io/name: slipstream-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "slipstream.labels" -}}
{{ include "slipstream.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: slipstream
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "slipstream.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "slipstream.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{- define "slipstream.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "slipstream.sidecarImage" -}}
{{ .Values.sidecar.image.repository }}:{{ .Values.sidecar.image.tag | default .Chart.AppVersion }}
{{- end }}
