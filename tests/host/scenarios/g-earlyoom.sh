# earlyoom, not the kernel, kills the process with the most memory.
. ./lib.sh
free=$(awk '/MemAvailable/ {a = $2} /MemTotal/ {t = $2} END {print int(100 * a / t)}' /proc/meminfo)
echo "EARLYOOM_ARGS=\"-m $((free - 15)),$((free - 25)) -s 100,100 -r 0 --prefer hog\"" >/etc/default/earlyoom
systemctl restart earlyoom.service
daemon=$(main_pid earlyoom.service)
service hog.service "ExecStart=/usr/bin/python3 -c 'import time; a = []
while True: a.append(bytearray(8 << 20)); time.sleep(0.02)'" 2>/dev/null || true
cat >/run/hog.py <<'END'
import time

eaten = []
while True:
    eaten.append(bytearray(b"x") * (8 << 20))
    time.sleep(0.02)
END
service hog.service 'ExecStart=/usr/bin/python3 /run/hog.py'
hog=$(main_pid hog.service)
recorded "$hog" .cause.type oom_daemon
recorded "$hog" .cause.sender.pid "$daemon"
why_says hog.service earlyoom
systemctl stop earlyoom.service
