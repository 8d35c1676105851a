#!/usr/bin/env bash
# Make the folder `site` that compose.yaml runs with: an authority of its own, certificates for one fog
# and one agent, configuration and state. What is there already is kept.
#   prepare.sh --bundle FILE --trust FILE.pub --source FILE.npz
#     --bundle   bundle that the fog serves and the agent runs
#     --trust    public key that it is signed with
#     --source   windows that the agent takes
set -euo pipefail

fail() { echo "prepare: $*" >&2; exit 1; }

here=$(cd "$(dirname "$0")" && pwd)
headtail=$here/../../.venv/bin/headtail
[ -x "$headtail" ] || headtail=headtail
site=${SITE:-$here/site} bundle='' trust='' source=''
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit ;;
    --bundle | --trust | --source) [ -f "${2:-}" ] || fail "$1: expected a file, received '${2:-}'" ;;
    *) fail "$1: no such option; --help lists them" ;;
  esac
  case $1 in --bundle) bundle=$2 ;; --trust) trust=$2 ;; --source) source=$2 ;; esac
  shift 2
done
for option in bundle trust source; do
  [ -n "${!option}" ] || fail "--$option is needed; --help tells more"
done

umask 077
mkdir -p "$site"/{trust,fog/tls,fog/state/bundles,edge/tls,edge/state}
[ -d "$site/ca" ] || "$headtail" ca init "$site/ca"
issue() { # ROLE NAME ARGUMENT...
  local role=$1 name=$2
  shift 2
  [ -e "$site/$role/tls/$role.pem" ] || "$headtail" ca issue "$site/ca" --role "$role" --name "$name" "$@"
  cp "$site/ca/issued/$role-$name.pem" "$site/$role/tls/$role.pem"
  cp "$site/ca/issued/$role-$name.key" "$site/$role/tls/$role.key"
  cp "$site/ca/ca.pem" "$site/$role/tls/"
}
issue fog fog-1 --host fog
issue edge agent-1
cp "$site/ca/allow.toml" "$site/fog/tls/"
cp "$trust" "$site/trust/"
cp "$bundle" "$site/fog/state/bundles/"
cp "$bundle" "$source" "$site/edge/state/"
[ -e "$site/edge/edge-agent.toml" ] || cat >"$site/edge/edge-agent.toml" <<TOML
bundle = "/var/lib/edge-agent/${bundle##*/}"
source = "npz:/var/lib/edge-agent/${source##*/}"
sink = "jsonl:/var/lib/edge-agent/results.jsonl"
fog = "fog:8500"
trust = "/etc/headtail/trust"
tls_ca = "/etc/headtail/tls/ca.pem"
tls_cert = "/etc/headtail/tls/edge.pem"
tls_key = "/etc/headtail/tls/edge.key"
TOML
[ -e "$site/reoptimize.secret" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$site/reoptimize.secret"
# Containers run as whoever owns these files; compose reads .env beside compose.yaml.
printf 'COMPOSE_PROJECT_NAME=headtail\nHEADTAIL_USER=%s:%s\n' "$(id -u)" "$(id -g)" >"$(dirname "$site")/.env"
echo "prepare: $site is ready" >&2
