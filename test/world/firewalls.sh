#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# firewalls.sh ROOT IPTABLES : in the mount namespace that it is started in, lay the packages of other
# firewalls that are unpacked in ROOT over the system (upper layers in memory), as if they were installed;
# IPTABLES is nft or legacy. Then say so and wait: whoever wants to use them enters this namespace.
set -eu
root=$1 iptables=$2
layers=/mnt/layers
mkdir "$layers"
mkdir -p "$layers/etc.upper"
# What the world has bound over the host's files would be under the layer.
cp /etc/passwd /etc/group /etc/resolv.conf "$layers/etc.upper/"
for dir in usr etc var; do
  mkdir -p "$layers/$dir.upper" "$layers/$dir.work"
  lower=/$dir
  [ -d "$root/$dir" ] && lower=$root/$dir:/$dir
  mount -t overlay -o "lowerdir=$lower,upperdir=$layers/$dir.upper,workdir=$layers/$dir.work" overlay "/$dir"
done
mount -t tmpfs -o mode=755 none /run
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /run/dbus /run/lock /run/systemd /var/lib/docker
# As systemd-resolved's own postinst does, and a server that it asks for everything else.
grep -q ^systemd-resolve: /etc/passwd ||
  echo 'systemd-resolve:x:64001:64001::/:/usr/sbin/nologin' >> /etc/passwd
grep -q ^systemd-resolve: /etc/group || echo 'systemd-resolve:x:64001:' >> /etc/group
mkdir -p /etc/systemd/resolved.conf.d
printf '[Resolve]\nDNS=203.0.113.1\nFallbackDNS=\nLLMNR=no\n' > /etc/systemd/resolved.conf.d/test.conf
for name in iptables ip6tables; do
  for part in '' -save -restore; do ln -sf "$name-$iptables$part" "/usr/sbin/$name$part"; done
done
# As ufw's own postinst does.
for file in before.rules before6.rules after.rules after6.rules user.rules user6.rules before.init after.init ufw.conf; do
  cp "/usr/share/ufw/$file" "/etc/ufw/$file"
done
echo ready
exec sleep 3600
