#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# enter.sh NETNS UID ETC CHECKOUT COMMAND… : run COMMAND in the network namespace NETNS as UID (0: root), in a
# mount namespace of its own where /etc/passwd, /etc/group and /etc/resolv.conf are those of ETC, and the
# checkout is at /mnt/tapyard (an ordinary user may not be able to reach the place where it really is). With
# TAPYARD_WORLD_OVER, packages that are unpacked there in the checkout lie over /usr, as if they were installed.
set -eu
netns=$1 uid=$2 etc=$3 checkout=$4
shift 4
if [ "${TAPYARD_WORLD_INNER:-}" != 1 ]; then
  TAPYARD_WORLD_INNER=1 exec nsenter --net="/run/netns/$netns" \
    unshare --mount --propagation private -- "$0" "$netns" "$uid" "$etc" "$checkout" "$@"
fi
unset TAPYARD_WORLD_INNER
for file in passwd group resolv.conf; do
  [ -e "$etc/$file" ] && mount --bind "$etc/$file" "$(readlink -f "/etc/$file")"
done
mount -t sysfs none /sys 2>/dev/null || true
# Nor the machine's own system bus, with its firewalld and its resolver.
[ -d /run/dbus ] && mount -t tmpfs -o mode=755 none /run/dbus
mount -t tmpfs -o mode=755 none /mnt
mkdir /mnt/tapyard
mount --bind "$checkout" /mnt/tapyard
over=${TAPYARD_WORLD_OVER:-}
unset TAPYARD_WORLD_OVER
[ -z "$over" ] || mount -t overlay -o "lowerdir=/mnt/tapyard/$over/usr:/usr" overlay /usr
cd /mnt/tapyard
if [ "$uid" = 0 ]; then exec "$@"; fi
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups -- "$@"
