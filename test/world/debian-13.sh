#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# debian-13.sh ROOT : in the mount namespace that it is started in, make a root directory of the packages of
# Debian 13 that are unpacked in ROOT (an upper layer in memory), with this machine's /dev, /proc and /sys. Then say
# so and wait in it: whoever wants to use them enters this namespace and its root.
set -eu
lower=$1
layers=/mnt/layers
root=/mnt/root
mkdir "$layers" "$root"
mkdir "$layers/upper" "$layers/work"
mount -t overlay -o "lowerdir=$lower,upperdir=$layers/upper,workdir=$layers/work" overlay "$root"
for dir in dev proc sys; do
  mkdir -p "$root/$dir"
  mount --rbind "/$dir" "$root/$dir"
done
for dir in run tmp; do
  mkdir -p "$root/$dir"
  mount -t tmpfs -o mode=1777 none "$root/$dir"
done
# The bus there is the one of who stays outside of this root as well.
mkdir "$root/run/dbus"
mount --bind "$root/run/dbus" /run/dbus
cp /etc/passwd /etc/group "$root/etc/"
# As the postinst of base-files does.
rmdir "$root/var/run"
ln -s /run "$root/var/run"
printf 'firewall_backend = "nftables"\n' > "$root/etc/libvirt/network.conf"
# libvirt has tc correct the checksums of DHCP's answers, and makes no network where that fails; this is no matter
# of firewalls, and a kernel may lack it (act_csum).
mv "$root/usr/sbin/tc" "$root/usr/sbin/tc.real"
cat > "$root/usr/sbin/tc" <<'END'
#!/bin/sh
/usr/sbin/tc.real "$@" && exit
case $* in *'action csum'*) exit 0 ;; esac
exit 2
END
chmod +x "$root/usr/sbin/tc"
export LC_ALL=C.UTF-8
exec chroot "$root" sh -c 'echo ready; exec sleep 3600'
