#!/bin/sh
# Runs once inside the image while it is built, whichever way the base came about.
# usage: customise.sh PACKAGE...   packages whose archives are fetched but not installed
set -eu
export DEBIAN_FRONTEND=noninteractive

# A container's disk is thrown away with the lab, and nobody reads manuals in it.
echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/lab-unsafe-io
printf 'path-exclude=/usr/share/%s/*\n' doc man info locale >/etc/dpkg/dpkg.cfg.d/lab-no-docs
# A public base image throws archives and lists away after each call of apt; here they are what makes installing fast.
rm -f /etc/apt/apt.conf.d/docker-clean /etc/apt/apt.conf.d/docker-gzip-indexes

# Identity is made at the first boot of each container, never shared through the image.
rm -f /etc/ssh/ssh_host_*
: >/etc/machine-id
cat >/etc/systemd/system/lab-host-keys.service <<'UNIT'
[Unit]
Description=Make this host's own SSH host keys at its first boot
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
[Install]
WantedBy=multi-user.target
UNIT
cat >/etc/ssh/sshd_config.d/10-lab.conf <<'CONF'
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
# Every operator, drill and test comes from the gateway's one address, and a drill cuts connections on purpose.
PerSourcePenalties no
MaxStartups 100:30:200
CONF

# Hardware, consoles and unattended upgrades belong to the machine that carries the containers.
for unit in console-getty.service getty@.service getty.target systemd-logind.service systemd-firstboot.service \
  apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
  systemd-networkd-wait-online.service systemd-modules-load.service sys-kernel-config.mount \
  sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount dev-mqueue.mount; do
  ln -sf /dev/null "/etc/systemd/system/$unit"
done
systemctl enable lab-host-keys.service ssh.service cron.service

# The lists stay, so that apt-get install needs no update; so do the archives of what a deploy will install.
apt-get clean
apt-get -q update
# With what they recommend, as a deploy may or may not ask for that.
apt-get -q -y --download-only --install-recommends install "$@"
apt-cache gencaches
