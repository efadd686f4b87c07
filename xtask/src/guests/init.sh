#!/bin/busybox sh
# First process of a guest. What the script prints goes to the second serial port, so that the kernel's
# own messages on the first never cut a line in two.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root TERM=dumb
mkdir -p /proc /sys /dev /tmp /run /root /etc /usr/bin /var/log
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t tracefs tracefs /sys/kernel/tracing
mount -t securityfs securityfs /sys/kernel/security
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for controller in memory pids cpu cpuset; do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done 2>/dev/null
ifconfig lo 127.0.0.1 up
hostname guest
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >/etc/passwd
printf 'root:x:0:\nadm:x:4:\nnogroup:x:65534:\n' >/etc/group
echo '127.0.0.1 localhost guest' >/etc/hosts
# Everything here lies on tmpfs, where the pages of a running program count as shared memory and not, as on any disk, as
# those of a file. The tests' processes are measured, so their program moves to where they don't.
if [ -e /bin/workload ]; then
    mkdir -p /programs
    mount -t ramfs ramfs /programs
    mv /bin/workload /programs/workload
    ln -s /programs/workload /bin/workload
fi
# Only what breaks the guest itself is worth a line; the tests make processes fault by the dozen.
dmesg -n 1
stty -F /dev/ttyS1 raw -echo
cd /tmp
sh /script </dev/null >/dev/ttyS1 2>&1
echo "guest-exit-status: $?" >/dev/ttyS1
sync
poweroff -f
