# Commands of the runbooks, the same on a machine (systemd), under Compose and in Kubernetes, where the image has no shell. Load it into
# bash, on the machine or where you run docker or kubectl:
#   machine:     . <(dgm runbook oncall.sh);  oncall machine
#   Compose:     . <(docker compose exec -T dgm dgm runbook oncall.sh);  oncall compose        (in the folder of compose.yaml)
#   Kubernetes:  . <(kubectl -n dgm exec deploy/dgm-service -c dgm-service -- dgm runbook oncall.sh);  oncall kubernetes
# It needs bash, curl and jq; on a machine psql and redis-cli (postgresql-client, redis-tools); for Compose docker 23 or newer; for
# Kubernetes kubectl 1.31 or newer with the rights to get secrets, exec, forward ports and add ephemeral containers.
#
# What may differ in your installation, with its defaults:
#   DGM_ENVIRONMENT=/etc/dgm/dgm.env   machine: file with the service's variables (DATABASE_URL, REDIS_URL, DGM__...)
#   DGM_NAMESPACE=dgm                  Kubernetes
#   DGM_REPLICA=                       Kubernetes: the pod that dgm, api and the operations listener mean; empty: any
#   DGM_TOOLS=debian:bookworm-slim     image with df, ls, ss and ps, for on_service
#   API=, OPS=                         machine: addresses of the service, if they are not 127.0.0.1:8007 and :9007
#   PROMETHEUS=                        URL of Prometheus, if it is not where each place has it

# oncall machine|compose|kubernetes: sets API, OPS, PROMETHEUS and DGM_TOKEN, and which commands are meant.
oncall() {
    case ${1:-} in machine | compose | kubernetes) DGM_IN=$1 ;; *) echo "oncall machine|compose|kubernetes" >&2; return 2 ;; esac
    "_${DGM_IN}_addresses"
    DGM_TOKEN=${DGM_TOKEN:-$(dgm token create --name "oncall-$(date +%s)" --role operator --expires-in 12h)}
    export API OPS PROMETHEUS DGM_TOKEN
    echo "API=$API OPS=$OPS PROMETHEUS=$PROMETHEUS"
}

# The service's program, with the service's settings.
dgm() { "_${DGM_IN}_dgm" "$@"; }
# psql as the service's role: sql -c 'SELECT 1', or sql and paste.
sql() { "_${DGM_IN}_sql" -X "$@"; }
# psql as a superuser, for what the service's role may not.
sql_admin() { "_${DGM_IN}_sql_admin" -X "$@"; }
# redis-cli with the service's address and password.
redis() { "_${DGM_IN}_redis" "$@"; }
# Log of the service, one JSON object a line, of the last 10m, 1h, ...
service_logs() { "_${DGM_IN}_service_logs" "$1"; }
postgres_logs() { "_${DGM_IN}_postgres_logs" "$1"; }
# A command next to the service: its processes, its network, its volumes (/var/log/dgm, /var/lib/dgm).
on_service() { "_${DGM_IN}_on_service" "$@"; }
# A command on PostgreSQL's machine, or in its container.
on_postgres() { "_${DGM_IN}_on_postgres" "$@"; }
service_status() { "_${DGM_IN}_service_status"; }
postgres_status() { "_${DGM_IN}_postgres_status"; }
backup_status() { "_${DGM_IN}_backup_status"; }
restart_service() { "_${DGM_IN}_restart_service"; }
# A request to the API with your token: api GET /api/v1/admin/jobs.
api() { curl -sS -m 60 -X "$1" -H "Authorization: Bearer $DGM_TOKEN" "$API$2" "${@:3}"; }
# An expression of PromQL: labels and value, one series a line.
promql() {
    curl -sSG "$PROMETHEUS/api/v1/query" --data-urlencode "query=$1" |
        jq -r 'if .status == "success" then .data.result[]? | [(.metric | del(.__name__) | tojson), .value[1]] | @tsv else .error end'
}

# Folder of the log files (telemetry.log_dir), if the service writes any, and those of the last 10m, 1h, ...
_log_dir() { dgm config | sed -n 's/^log_dir = "\(.*\)"$/\1/p'; }
_log_files() {
    local minutes=${1%[mh]}
    case $1 in *h) minutes=$((minutes * 60)) ;; esac
    on_service find "$(_log_dir)" -name 'dgm.*' -mmin "-$minutes" -exec cat '{}' +
}

_machine_addresses() {
    API=${API:-http://127.0.0.1:8007} OPS=${OPS:-http://127.0.0.1:9007} PROMETHEUS=${PROMETHEUS:-http://127.0.0.1:9090}
    local file=${DGM_ENVIRONMENT:-/etc/dgm/dgm.env}
    # Without the file your shell must have the variables.
    if [ -r "$file" ]; then set -a; . "$file"; set +a; fi
}
_machine_dgm() { command dgm "$@"; }
_machine_sql() { psql "$DATABASE_URL" "$@"; }
_machine_sql_admin() { sudo -u postgres psql -d dgm "$@"; }
_machine_redis() { redis-cli -u "$REDIS_URL" "$@"; }
_machine_service_logs() { if [ -n "$(_log_dir)" ]; then _log_files "$1"; else journalctl -u dgm -o cat --since "-$1"; fi; }
_machine_postgres_logs() { journalctl -u 'postgresql*' --since "-$1"; }
_machine_on_service() { "$@"; }
_machine_on_postgres() { sudo -u postgres "$@"; }
_machine_service_status() { systemctl show dgm -p ActiveState -p Result -p ExecMainStatus -p NRestarts; dmesg -T | grep -i 'killed process' | tail -3; }
_machine_postgres_status() { systemctl status 'postgresql*' --no-pager; }
_machine_backup_status() { systemctl list-timers 'dgm-*' --no-pager; systemctl status 'dgm-backup@*' 'dgm-files-backup*' 'dgm-restore-drill*' --no-pager; }
_machine_restart_service() { sudo systemctl restart dgm; }

_compose_addresses() {
    API=http://$(docker compose port dgm 8007) OPS=http://$(docker compose port dgm 9007)
    PROMETHEUS=${PROMETHEUS:-http://$(docker compose --profile monitoring port prometheus 9090)}
}
# A container that is down is replaced by one for this command.
_compose_dgm() {
    if [ -n "$(docker compose ps -q --status running dgm)" ]; then docker compose exec -T dgm dgm "$@"; else docker compose run --rm -T --no-deps dgm "$@"; fi
}
_compose_sql() {
    docker compose exec -T postgres sh -c 'exec psql "postgres://dgm:$DGM_DATABASE_PASSWORD@127.0.0.1/dgm" "$@"' psql "$@"
}
_compose_sql_admin() { docker compose exec -T postgres psql -U postgres -d dgm "$@"; }
_compose_redis() { docker compose exec -T redis redis-cli "$@"; }
_compose_service_logs() {
    if [ -n "$(_log_dir)" ]; then _log_files "$1"; else docker compose logs --no-log-prefix --since "$1" dgm; fi
}
_compose_postgres_logs() { docker compose logs --no-log-prefix --since "$1" postgres; }
_compose_on_service() {
    local id; id=$(docker compose ps -aq dgm)
    docker run --rm -i --pid="container:$id" --network="container:$id" --volumes-from "$id" "${DGM_TOOLS:-debian:bookworm-slim}" "$@"
}
_compose_on_postgres() { docker compose exec -T postgres "$@"; }
_compose_service_status() {
    docker compose ps -a dgm
    docker inspect --format '{{json .State}} restarts={{.RestartCount}}' "$(docker compose ps -aq dgm)"
}
_compose_postgres_status() { docker compose ps -a postgres; }
_compose_backup_status() { docker compose ps -a; dgm job list; }
_compose_restart_service() { docker compose restart dgm; }

_kubectl() { kubectl -n "${DGM_NAMESPACE:-dgm}" "$@"; }
_kubernetes_replica() {
    if [ -n "${DGM_REPLICA:-}" ]; then echo "pod/$DGM_REPLICA"; else _kubectl get pods -l app.kubernetes.io/name=dgm-service,app.kubernetes.io/component=api -o name | head -1; fi
}
_kubernetes_primary() { _kubectl get pods -l cnpg.io/cluster=dgm-postgres,cnpg.io/instanceRole=primary -o name | head -1; }
_kubernetes_redis_node() { _kubectl get pods -l redis_setup_type=cluster -o name | head -1; }
_kubernetes_secret() { _kubectl get secret "$1" -o "jsonpath={.data.$2}" | base64 -d; }
# Ports are forwarded as long as this shell lives.
_kubernetes_addresses() {
    API=http://127.0.0.1:18007 OPS=http://127.0.0.1:19007
    _kubectl port-forward "$(_kubernetes_replica)" 18007:8007 19007:9007 >/dev/null &
    if [ -z "${PROMETHEUS:-}" ]; then
        PROMETHEUS=http://127.0.0.1:19090
        kubectl -n monitoring port-forward svc/prometheus-operated 19090:9090 >/dev/null &
    fi
    sleep 2
}
_kubernetes_dgm() { _kubectl exec "$(_kubernetes_replica)" -c dgm-service -- dgm "$@"; }
_kubernetes_sql() { _kubectl exec -i "$(_kubernetes_primary)" -c postgres -- psql "$(_kubernetes_secret dgm-postgres-app uri)" "$@"; }
_kubernetes_sql_admin() { _kubectl exec -i "$(_kubernetes_primary)" -c postgres -- psql -d dgm "$@"; }
_kubernetes_redis() {
    _kubectl exec -i "$(_kubernetes_redis_node)" -- env REDISCLI_AUTH="$(_kubernetes_secret dgm-redis password)" redis-cli -c "$@"
}
_kubernetes_service_logs() {
    if [ -n "$(_log_dir)" ]; then _log_files "$1"; return; fi
    _kubectl logs -l app.kubernetes.io/name=dgm-service,app.kubernetes.io/component=api -c dgm-service --since="$1" --tail=-1 --max-log-requests=50
}
_kubernetes_postgres_logs() { _kubectl logs -l cnpg.io/cluster=dgm-postgres -c postgres --since="$1" --tail=-1; }
# An ephemeral container with the volumes of the service. Files that only the service sees are below /proc/1/root.
_kubernetes_on_service() {
    _kubectl debug -q -i "$(_kubernetes_replica)" --image="${DGM_TOOLS:-debian:bookworm-slim}" --target=dgm-service --profile=restricted \
        --custom=<(echo '{"volumeMounts": [{"name": "archive", "mountPath": "/var/lib/dgm"}, {"name": "logs", "mountPath": "/var/log/dgm"}]}') -- "$@"
}
_kubernetes_on_postgres() { _kubectl exec "$(_kubernetes_primary)" -c postgres -- "$@"; }
_kubernetes_service_status() {
    _kubectl get pods -l app.kubernetes.io/name=dgm-service -o wide
    _kubectl describe pods -l app.kubernetes.io/name=dgm-service | grep -A6 -E '^Name:|Last State|Events'
}
_kubernetes_postgres_status() { _kubectl get clusters.postgresql.cnpg.io,pods -l cnpg.io/cluster=dgm-postgres -o wide; }
_kubernetes_backup_status() { _kubectl get scheduledbackups.postgresql.cnpg.io,backups.postgresql.cnpg.io,cronjobs,jobs; }
_kubernetes_restart_service() { _kubectl rollout restart deploy/dgm-service; _kubectl rollout status deploy/dgm-service; }
