#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# libvirt.sh ROOT COMMAND… : in the mount namespace that it is started in, lay libvirt's packages that are
# unpacked in ROOT over the system (upper layers in memory), as if they were installed, and run COMMAND there.
# Of libvirt's drivers only the one of networks stays: what is measured has no guests.
set -eu
root=$1
shift
layers=/mnt/layers
mkdir "$layers"
mkdir "$layers/etc.upper"
# What the world has bound over the host's files would be under the layer.
cp /etc/passwd /etc/group /etc/resolv.conf "$layers/etc.upper/"
for dir in usr etc var; do
  mkdir -p "$layers/$dir.upper" "$layers/$dir.work"
  lower=/$dir
  [ -d "$root/$dir" ] && lower=$root/$dir:/$dir
  mount -t overlay -o "lowerdir=$lower,upperdir=$layers/$dir.upper,workdir=$layers/$dir.work" overlay "/$dir"
done
mount -t tmpfs -o mode=755 none /run
for driver in /usr/lib/*/libvirt/connection-driver/*; do
  case $driver in *_network.so) ;; *) rm "$driver" ;; esac
done
exec "$@"
