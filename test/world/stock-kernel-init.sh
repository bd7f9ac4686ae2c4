#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# The first program of a stock kernel (stock-kernel.ts). In the initramfs it loads what the machine's own root file
# system needs, lays memory over it and starts itself there; there it makes the kernel what a distribution's would
# be after its boot, and runs one order after another.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C
busybox=/bin/busybox

if [ -e /modules ]; then
  for applet in mkdir mount mv insmod switch_root sh; do $busybox ln -s busybox /bin/$applet; done
  mount -t devtmpfs none /dev
  while read -r module; do insmod "/$module" || exit; done < /modules
  mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,msize=524288,ro root /machine || exit
  mount -t tmpfs none /memory
  mkdir /memory/work
  mv /often /memory/upper
  mount -t overlay -o lowerdir=/machine,upperdir=/memory/upper,workdir=/memory/work none /root || exit
  for dir in tmp var/tmp run; do mount -t tmpfs -o mode=1777 none /root/$dir; done
  mkdir /root/run/exchange
  mount -t 9p -o trans=virtio,version=9p2000.L,cache=none,msize=524288 exchange /root/run/exchange || exit
  . /root/run/exchange/boot
  # Wherever they are, they may lie under one of the mounts.
  mkdir -p "/root$CHECKOUT" "/root/lib/modules/$RELEASE"
  mount --bind "/machine$CHECKOUT" "/root$CHECKOUT"
  mount --bind "/machine$KERNEL/lib/modules/$RELEASE" "/root/lib/modules/$RELEASE"
  mount --move /dev /root/dev
  exec switch_root /root /bin/sh "$CHECKOUT/test/world/stock-kernel-init.sh"
fi

cd /
mount -t proc none /proc
mount -t sysfs none /sys
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666 none /dev/pts
mount -t tmpfs -o mode=1777 none /dev/shm
ln -s /proc/self/fd /dev/fd
chmod 755 /run
# Nodes whose opening loads their module (systemd's kmod-static-nodes), with the modes that udev gives them.
while read -r _ node number _; do
  numbers=${number#c}
  mkdir -p "$(dirname "/dev/$node")"
  case $number in c*) [ -e "/dev/$node" ] || mknod "/dev/$node" c "${numbers%:*}" "${numbers#*:}" ;; esac
done < "/lib/modules/$(uname -r)/modules.devname"
chmod 666 /dev/net/tun
chmod 660 /dev/vhost-net
# As systemd sets it.
echo '0 2147483647' > /proc/sys/net/ipv4/ping_group_range
hostname stock
ip link set lo up

orders=
for port in /sys/class/virtio-ports/*; do
  [ "$(cat "$port/name")" = orders ] && orders=/dev/${port##*/}
done
cd /run/exchange
order() {
  sh "$1.sh" > "$1.out" 2> "$1.err" < /dev/null
  echo $? > "$1.code.new"
  mv "$1.code.new" "$1.code"
}
: > ready
while read -r number; do order "$number" & done < "$orders"
exec /bin/busybox poweroff -f
