#!/usr/bin/env bash
# Run a command in a 64-bit ARM user land, with this machine's network and nothing of its environment.
#   inside.sh ROOT COMMAND [ARGUMENT...]
set -euo pipefail
root=$1
shift
# In a mount namespace of its own: nothing stays mounted, whatever happens.
exec unshare --mount --propagation private sh -c '
  mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" || exit
  exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8 chroot "$0" "$@"' "$root" "$@"
