{{- define "strata.name" -}}
{{- if contains "strata" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-strata" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "strata.selector" -}}
app.kubernetes.io/name: strata
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "strata.labels" -}}
{{ include "strata.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "strata.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* What every pod is allowed: next to nothing. */}}
{{- define "strata.pod" -}}
serviceAccountName: {{ include "strata.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "strata.container" -}}
image: {{ include "strata.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- with .Values.data.credentials }}
envFrom:
  {{- range . }}
  - secretRef:
      name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "strata.resources" -}}
requests: &resources
  cpu: {{ .cpu | quote }}
  memory: {{ .memory }}
limits: *resources
{{- end }}

{{/* Where workers are placed. */}}
{{- define "strata.placement" -}}
{{- with .Values.workers.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.workers.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .Values.workers.spread }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "strata.selector" . | nindent 8 }}
        app.kubernetes.io/component: {{ eq .Values.mode "batch" | ternary "batch" "worker" }}
{{- end }}
{{- end }}

{{/* It talks with threads of its own: whoever does not answer for two minutes is stuck. */}}
{{- define "strata.alive" -}}
livenessProbe:
  httpGet:
    path: /healthz
    port: {{ .Values.http.port }}
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 6
{{- end }}

{{- define "strata.worker.args" -}}
- --listen
- 0.0.0.0:{{ .Values.workers.port }}
- --data
- /cache
- --memory
- {{ .Values.workers.budget }}
- --disk
- {{ .Values.workers.cacheLimit }}
- --http
- 0.0.0.0:{{ .Values.http.port }}
{{- if include "strata.tls" . }}
- --tls
- /tls/worker
{{- else }}
- --insecure
{{- end }}
{{- end }}

{{/* Whether programs show certificates to one another: some word, or nothing. */}}
{{- define "strata.tls" -}}
{{- if .Values.tls.issuer.name }}issued{{ else if and .Values.tls.workers .Values.tls.coordinator }}given
{{- else if or .Values.tls.workers .Values.tls.coordinator }}{{ fail "tls.workers and tls.coordinator name a Secret each: give both" }}{{ end }}
{{- end }}

{{- define "strata.tls.secret.worker" -}}
{{ .Values.tls.workers | default (printf "%s-worker-tls" (include "strata.name" .)) }}
{{- end }}

{{- define "strata.tls.secret.coordinator" -}}
{{ .Values.tls.coordinator | default (printf "%s-coordinator-tls" (include "strata.name" .)) }}
{{- end }}

{{/* What a pod of a role mounts: its own certificate, and no other. */}}
{{- define "strata.tls.volume" -}}
{{- if include "strata.tls" .root }}
- name: tls-{{ .role }}
  secret:
    secretName: {{ include (printf "strata.tls.secret.%s" .role) .root }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{- define "strata.tls.mount" -}}
{{- if include "strata.tls" .root }}
- name: tls-{{ .role }}
  mountPath: /tls/{{ .role }}
  readOnly: true
{{- end }}
{{- end }}

{{/* The coordinator's words; the verb and the workers are those of who includes it. */}}
{{- define "strata.coordinator.args" -}}
- --json
- --memory
- {{ .root.Values.coordinator.budget }}
- --scratch
- /scratch
- --http
- 0.0.0.0:{{ .root.Values.http.port }}
{{- if include "strata.tls" .root }}
- --tls
- /tls/coordinator
{{- end }}
- --workers
- {{ .workers | quote }}
- {{ .verb }}
- /etc/strata/job.toml
{{- range $key, $value := .root.Values.job.settings }}
- --set
- {{ printf "%s=%v" $key $value | quote }}
{{- end }}
{{- end }}

{{/* A job that makes no sense fails at once, a lost node does not count, all else is tried again. docs/json.md has the codes. */}}
{{- define "strata.failures" -}}
rules:
  - action: Ignore
    onPodConditions:
      - type: DisruptionTarget
        status: "True"
  - action: FailJob
    onExitCodes:
      containerName: coordinator
      operator: In
      values: [64, 65, 70, 77, 78]
{{- end }}

{{- define "strata.job.volumes" -}}
- name: job
  configMap:
    name: {{ include "strata.name" . }}-job
- name: data
  persistentVolumeClaim:
    claimName: {{ .Values.data.existingClaim }}
- name: scratch
  emptyDir:
    sizeLimit: 10Gi
- name: tmp
  emptyDir:
    sizeLimit: 1Gi
{{- include "strata.tls.volume" (dict "root" . "role" "coordinator") }}
{{- end }}

{{- define "strata.job.mounts" -}}
- name: job
  mountPath: /etc/strata
  readOnly: true
- name: data
  mountPath: /data
- name: scratch
  mountPath: /scratch
- name: tmp
  mountPath: /tmp
{{- include "strata.tls.mount" (dict "root" . "role" "coordinator") }}
{{- end }}
