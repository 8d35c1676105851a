#!/usr/bin/env bash
# Install the edge agent in a 64-bit ARM Debian user land, emulated, and compare its results with
# those of this machine: `make test-arm64`. The first time takes some ten minutes. Needs root, apt and
# a kernel with binfmt_misc; arguments go to pytest.
#   HEADTAIL_ARM64   where the user land is kept (default /var/tmp/headtail-arm64)
#   DEBIAN           its release (default bookworm: Python 3.11, as Raspberry Pi OS 12)
set -euo pipefail
cd "$(dirname "$0")/../.."

place=${HEADTAIL_ARM64:-/var/tmp/headtail-arm64}
release=${DEBIAN:-bookworm}
root=$place/$release
binfmt=/proc/sys/fs/binfmt_misc
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "arm64: $*" >&2; exit 1; }
say() { echo "arm64: $*" >&2; }

[ "$(id -u)" = 0 ] || fail "expected root: debootstrap and chroot need it"
[ "$(uname -m)" = x86_64 ] || fail "expected x86_64 to compare with, received $(uname -m)"
command -v debootstrap qemu-aarch64-static >/dev/null || {
  say "installing debootstrap and qemu-user-static"
  apt-get -qq update
  apt-get -qq install -y debootstrap qemu-user-static >/dev/null
}
[ -e "$binfmt/register" ] || mount -t binfmt_misc binfmt_misc "$binfmt" || fail "this kernel has no binfmt_misc"
if [ ! -e "$binfmt/qemu-aarch64" ]; then
  # An ELF header for AArch64, executable or shared; F opens the emulator now, so a chroot finds it.
  printf '%s%s%s' ':qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00' \
    ':\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff' \
    ":$(command -v qemu-aarch64-static):F" >"$binfmt/register"
fi

if [ ! -e "$root/.made" ]; then
  say "making a user land of Debian $release in $root"
  rm -rf "$root"
  mkdir -p "$root"
  debootstrap --arch=arm64 --variant=minbase --include=python3,python3-venv "$release" "$root" >"$place/debootstrap.log" ||
    fail "$(tail -n 3 "$place/debootstrap.log")"
  touch "$root/.made"
fi
python=$(deploy/arm64/inside.sh "$root" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
say "$(deploy/arm64/inside.sh "$root" uname -m), Python $python"

# Wheels are downloaded here: pip is slow where it is emulated, and a Pi may have no network.
wheels=$root/srv/wheels
rm -rf "$root/srv/deploy" "$wheels"/headtail-*.whl
mkdir -p "$wheels"
"${PYTHON:-python3}" -m pip --quiet --disable-pip-version-check download --no-deps --only-binary :all: \
  --require-hashes -r deploy/requirements/edge.txt --dest "$wheels" --python-version "$python" \
  --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 \
  --platform manylinux2014_aarch64
.venv/bin/python -m hatchling build -t wheel -d "$wheels" 2>"$scratch/log" || fail "$(cat "$scratch/log")"
cp -r deploy "$root/srv/deploy"
deploy/arm64/inside.sh "$root" /srv/deploy/edge/install.sh --no-start --wheels /srv/wheels \
  --wheel "/srv/wheels/$(cd "$wheels" && echo headtail-*.whl)"

HEADTAIL_ARM64_ROOT=$root .venv/bin/pytest tests/arm64 "$@"
