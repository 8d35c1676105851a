#!/usr/bin/env bash
# Install, upgrade, roll back or remove the edge agent or the fog server as a systemd service, on
# Debian, Ubuntu or Raspberry Pi OS (64 bit). Called by deploy/edge/install.sh and
# deploy/fog/install.sh; run it again for a later version or to change a setting.
#
#   install.sh [OPTION...]
#     --wheel FILE       our wheel; without it one is built from this checkout
#     --wheels DIR       take every package from this folder: nothing is downloaded
#     --enrolment FILE   certificates and trusted keys, as written by deploy/enrol.sh
#     --bundle FILE      bundle to run (fog: to serve); the fog's may be repeated
#     --set KEY=VALUE    set a key of the configuration, which is otherwise left as it is
#     --no-start         neither enable nor start the service
#     --rollback         go back to the version that was installed before this one
#     --uninstall        stop and remove; configuration, keys and data stay
#     --purge            with --uninstall: remove these too
#     --dry-run          print what would be done, do nothing
#     --root DIR         install below DIR, for an image: no users, no systemd
#
# Each version lies in a folder of its own, /opt/PROGRAM-ID, and /opt/PROGRAM points to the one that
# runs. A version that does not become ready is taken back at once.
set -euo pipefail

umask 022  # services read what is installed
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-/usr/bin/python3}
wheel='' wheels='' enrolment='' root='' action=install
dry='' start=yes purge='' changed=''
bundles=() settings=()

fail() { echo "install: $*" >&2; exit 1; }
say() { echo "install: $*" >&2; }
run() { if [ -n "$dry" ]; then echo "+ $*"; else "$@"; fi; }

role=${1:-}
shift || true
case $role in
  edge) program=edge-agent ;;
  fog) program=fog-server ;;
  *) fail "expected edge or fog first, received '$role'; run deploy/edge/install.sh or deploy/fog/install.sh" ;;
esac
while [ $# -gt 0 ]; do
  case $1 in
    --wheel | --wheels | --enrolment | --bundle | --set | --root)
      [ $# -gt 1 ] || fail "$1: expected a value"
      case $1 in
        --wheel) wheel=$2 ;;
        --wheels) wheels=$2 ;;
        --enrolment) enrolment=$2 ;;
        --bundle) bundles+=("$2") ;;
        --set) settings+=("$2") ;;
        --root) root=$(realpath -m "$2") start='' ;;
      esac
      shift ;;
    --no-start) start='' ;;
    --rollback | --uninstall) action=${1#--} ;;
    --purge) purge=yes ;;
    --dry-run) dry=yes ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit ;;
    *) fail "$1: no such option; --help lists them" ;;
  esac
  shift
done

link=/opt/$program previous=/opt/$program.previous
state=/var/lib/$program unit=/etc/systemd/system/$program.service
config=/etc/headtail/$program.toml
scratch=''
trap '[ -z "$scratch" ] || rm -rf "$scratch"' EXIT

check_machine() {
  [ -n "$dry$root" ] || [ "$(id -u)" = 0 ] || fail "expected root; say sudo $0"
  [ -z "$start$purge" ] || [ -n "$dry$root" ] || command -v systemctl >/dev/null || fail "no systemd here; --no-start only installs"
  [ -z "$purge" ] || [ "$action" = uninstall ] || fail "--purge goes with --uninstall"
}

check_files() { # Before anything is changed.
  local path
  for path in ${wheel:+"$wheel"} ${enrolment:+"$enrolment"} ${bundles[@]+"${bundles[@]}"}; do
    [ -f "$path" ] || fail "$path: no such file"
  done
  [ -z "$wheels" ] || [ -d "$wheels" ] || fail "$wheels: no such folder"
  [ "$role" = fog ] || [ ${#bundles[@]} -le 1 ] || fail "--bundle: the agent runs one"
  [ -n "$wheel" ] || [ -f "$here/../pyproject.toml" ] || fail "no checkout around $here; name our wheel with --wheel"
  "$python" - <<'PYTHON' || fail "$python does not do; name another with PYTHON=/path/to/python3.12"
import struct, sys
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(f"expected Python 3.11 to 3.13, received {sys.version.split()[0]}")
if struct.calcsize("P") != 8:
    sys.exit("expected a 64-bit system: onnxruntime has no packages for 32-bit ones")
PYTHON
  [ -n "$root" ] || check_no_home
  "$python" -c 'import ensurepip' 2>/dev/null || run apt-get -qq install -y python3-venv
}

homes() { # What systemd's ProtectHome hides from services, as this machine names it.
  PATH=$PATH:/usr/sbin useradd -D | sed -n 's/^HOME=//p'
  getent passwd | awk -F: '$3 == 0 || $3 >= 1000 { print $6 }'
}

check_no_home() {
  local real home
  real=$("$python" -c 'import os, sys; print(os.path.realpath(sys.executable))')
  while read -r home; do
    home=$(realpath -m "${home:-/}")
    [ "$home" = / ] || [[ $real != "$home"/* ]] || fail "$real is in a home, where services may not look; say PYTHON=/usr/bin/python3"
  done < <(homes)
}

pip() { # VENV ARGUMENTS...
  local venv=$1 from=()
  shift
  [ -z "$wheels" ] || from=(--no-index --find-links "$wheels")
  run "$venv/bin/python" -m pip --quiet --disable-pip-version-check install --only-binary :all: ${from[@]+"${from[@]}"} "$@"
}

build_wheel() {
  [ -z "$wheel" ] || return 0
  say "building our wheel from $(realpath "$here/..")"
  run "$python" -m venv "$scratch/build"
  pip "$scratch/build" --require-hashes -r "$here/requirements/build.txt"
  run env -C "$here/.." "$scratch/build/bin/python" -m hatchling build -t wheel -d "$scratch" 2>"$scratch/log" ||
    fail "$(cat "$scratch/log")"
  wheel=$(find "$scratch" -maxdepth 1 -name 'headtail-*.whl')
}

install_program() {
  build_wheel
  local id venv
  id=$({ "$python" --version; cat "$here/requirements/$role.txt" ${wheel:+"$wheel"}; } | sha256sum | cut -c1-12)
  venv=$root/opt/$program-$id
  if [ ! -e "$venv/.ready" ]; then
    say "making $venv (a few minutes)"
    run rm -rf "$venv"
    run "$python" -m venv "$venv"
    pip "$venv" --require-hashes -r "$here/requirements/$role.txt"
    pip "$venv" --no-deps "${wheel:-headtail.whl}"
    run touch "$venv/.ready"
  fi
  point_to "$program-$id"
}

point_to() { # FOLDER: what runs from the next start on
  local now
  now=$(readlink "$root$link" || true)
  [ "$now" != "$1" ] || return 0
  changed=yes
  [ -z "$now" ] || run ln -sfnT "$now" "$root$previous"
  run ln -sfnT "$1" "$root$link.new"
  run mv -T "$root$link.new" "$root$link"
}

remove_old_programs() {
  local folder
  for folder in "$root$link"-*; do
    case ${folder##*/} in
      "$(readlink "$root$link" || true)" | "$(readlink "$root$previous" || true)") ;;
      *) [ ! -d "$folder" ] || run rm -rf "$folder" ;;
    esac
  done
}

put() { # SOURCE TARGET MODE OWNER GROUP
  local owners=(-o "$4" -g "$5")
  [ -z "$root" ] || owners=()
  cmp -s "$1" "$root$2" || changed=yes
  run install -D -m "$3" ${owners[@]+"${owners[@]}"} "$1" "$root$2"
}

put_folder() { # PATH MODE OWNER
  local owners=(-o "$3" -g "$3")
  [ -z "$root" ] || owners=()
  run install -d -m "$2" ${owners[@]+"${owners[@]}"} "$root$1"
}

install_files() {
  if [ -z "$root" ] && ! getent passwd "$program" >/dev/null; then
    run useradd --system --user-group --home-dir "$state" --shell /usr/sbin/nologin "$program"
  fi
  put_folder /etc/headtail/trust 755 root
  put_folder /etc/headtail/tls 755 root
  put_folder "$state" 750 "$program"
  [ -e "$root$config" ] || put "$here/$role/$program.toml" "$config" 644 root root
  put "$here/$role/$program.service" "$unit" 644 root root
  local bundle
  for bundle in ${bundles[@]+"${bundles[@]}"}; do
    if [ "$role" = fog ]; then
      put_folder "$state/bundles" 750 "$program"
      put "$bundle" "$state/bundles/${bundle##*/}" 640 "$program" "$program"
    else
      put "$bundle" "$state/${bundle##*/}" 640 "$program" "$program"
      set_key "bundle=$state/${bundle##*/}"
    fi
  done
}

install_enrolment() {
  [ -n "$enrolment" ] || return 0
  local file files=(ca.pem "$role.pem" "$role.key")
  [ "$role" = edge ] || files+=(allow.toml)
  mkdir "$scratch/enrolment"
  tar -xf "$enrolment" -C "$scratch/enrolment" --no-same-owner
  for file in "${files[@]}"; do
    [ -f "$scratch/enrolment/$file" ] || fail "$enrolment: expected $file in it; deploy/enrol.sh --role $role writes it"
  done
  for file in "${files[@]}"; do
    case $file in
      *.key) put "$scratch/enrolment/$file" "/etc/headtail/tls/$file" 640 root "$program" ;;
      *) put "$scratch/enrolment/$file" "/etc/headtail/tls/$file" 644 root root ;;
    esac
  done
  for file in "$scratch/enrolment/trust/"*.pub; do
    [ ! -f "$file" ] || put "$file" "/etc/headtail/trust/${file##*/}" 644 root root
  done
  [ "$role" = fog ] || for file in ca.pem=tls_ca edge.pem=tls_cert edge.key=tls_key; do
    set_key "${file#*=}=/etc/headtail/tls/${file%=*}"
  done
}

set_key() { # KEY=VALUE: as a word, or bare where it is a number or a truth value and so is the default
  local key=${1%%=*} value=${1#*=} file=$root$config before
  [[ $1 =~ ^[a-z_]+=[^\"\\\|\&]*$ ]] || fail "--set $1: expected KEY=VALUE, without quotes, \\, | and &"
  if [ -n "$dry" ]; then echo "+ set $key = $value in $file"; return; fi
  before=$(grep -m1 -E "^(# )?$key = " "$file") || fail "--set $1: $file has no key $key"
  # What the file holds does not tell: after speed = "max" a number is one again.
  [[ $value =~ ^(true|false|[0-9.]+)$ ]] && ! grep -qE "^(# )?$key = \"" "$here/$role/$program.toml" || value="\"$value\""
  [ "$before" != "$key = $value" ] || return 0
  changed=yes
  sed -i -E "s|^(# )?$key = .*|$key = $value|" "$file"
}

start_service() {
  [ -n "$start" ] || return 0
  run systemctl daemon-reload
  run systemctl --quiet enable "$program"
  [ -n "$changed" ] || ! systemctl --quiet is-active "$program" || return 0
  run systemctl restart "$program" && return
  local before
  before=$(readlink "$previous" || true)
  [ -n "$before" ] && [ -d "/opt/$before" ] || fail "$program did not start: journalctl -u $program"
  point_to "$before"
  rm "$previous"  # --rollback never goes to a version that did not start
  systemctl restart "$program" || fail "$program did not start, nor did the version before: journalctl -u $program"
  fail "$program did not start; the version before runs again: journalctl -u $program"
}

roll_back() {
  local before
  before=$(readlink "$root$previous" || true)
  [ -n "$before" ] && [ -d "$root/opt/$before" ] || fail "no version before this one"
  point_to "$before"
  [ -z "$start" ] || run systemctl restart "$program"
  say "$link is $before"
}

uninstall() {
  [ -z "$start" ] || [ ! -e "$unit" ] || run systemctl --quiet disable --now "$program"
  run rm -rf "$root$unit" "$root$link" "$root$previous" "$root$link"-*
  [ -z "$start" ] || run systemctl daemon-reload
  [ -n "$purge" ] || return 0
  run rm -rf "$root$config" "$root$state" "$root/etc/headtail/tls/$role".{pem,key}
  # What both programs read goes with the last of them.
  [ -n "$(find "$root/etc/headtail" -maxdepth 1 -name '*.toml' ! -path "$root$config" 2>/dev/null)" ] || run rm -rf "$root/etc/headtail"
  [ -n "$root" ] || ! getent passwd "$program" >/dev/null || run userdel "$program"
}

check_machine
case $action in
  install)
    check_files
    scratch=$(mktemp -d)
    install_program
    install_files
    install_enrolment
    for setting in ${settings[@]+"${settings[@]}"}; do set_key "$setting"; done
    start_service
    remove_old_programs
    say "$program is installed${changed:+, changed}" ;;
  rollback) roll_back ;;
  uninstall) uninstall ;;
esac
