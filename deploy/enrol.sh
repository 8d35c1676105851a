#!/usr/bin/env bash
# Issue a certificate and pack what one machine needs of the authority into one file, for
# deploy/edge/install.sh or deploy/fog/install.sh --enrolment. Runs where ca.key is, which stays.
#
#   enrol.sh --ca DIR --role edge|fog --name NAME --trust FILE.pub --out FILE.tar [--host HOST] [--days N]
#     --ca      folder made by `headtail ca init`
#     --trust   public key that bundles are signed with; may be repeated
#     --host    a fog's name or address, as agents call it; may be repeated
#     --days    how long the certificate counts
#
# The file holds a private key: carry it as one, and delete it when it is installed.
set -euo pipefail

fail() { echo "enrol: $*" >&2; exit 1; }

here=$(cd "$(dirname "$0")" && pwd)
headtail=$here/../.venv/bin/headtail
[ -x "$headtail" ] || headtail=headtail
ca='' role='' name='' out='' trust=() more=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit ;;
    --ca | --role | --name | --out | --trust | --host | --days) [ $# -gt 1 ] || fail "$1: expected a value" ;;
    *) fail "$1: no such option; --help lists them" ;;
  esac
  case $1 in
    --ca) ca=$2 ;;
    --role) role=$2 ;;
    --name) name=$2 ;;
    --out) out=$2 ;;
    --trust) trust+=("$2") ;;
    *) more+=("$1" "$2") ;;
  esac
  shift 2
done
for option in ca role name out; do
  [ -n "${!option}" ] || fail "--$option is needed; --help tells more"
done
[ ${#trust[@]} -gt 0 ] || fail "--trust is needed: the public key of whoever signs the bundles"
case $role in edge | fog) ;; *) fail "--role: expected edge or fog, received $role" ;; esac
for file in "${trust[@]}" "$ca/allow.toml"; do
  [ -f "$file" ] || fail "$file: no such file"
done

umask 077
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$headtail" ca issue "$ca" --role "$role" --name "$name" ${more[@]+"${more[@]}"} >&2
mkdir "$scratch/trust"
cp "$ca/ca.pem" "$scratch/"
cp "$ca/issued/$role-$name.pem" "$scratch/$role.pem"
cp "$ca/issued/$role-$name.key" "$scratch/$role.key"
cp "${trust[@]}" "$scratch/trust/"
[ "$role" = edge ] || cp "$ca/allow.toml" "$scratch/"
tar -cf "$out" -C "$scratch" .
echo "enrol: $out enrols $role/$name; the fogs need the new $ca/allow.toml" >&2
