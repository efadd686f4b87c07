# A unit that ignores SIGTERM: systemd sends SIGTERM, waits TimeoutStopSec, and sends SIGKILL.
. ./lib.sh
service deaf.service TimeoutStopSec=2 "ExecStart=/usr/bin/python3 -c 'import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); signal.pause(); signal.pause()'"
pid=$(main_pid deaf.service)
within 30 grep -qE '^SigIgn:\s+[0-9a-f]*[4-7c-f][0-9a-f]{3}$' "/proc/$pid/status"
systemctl stop deaf.service
recorded "$pid" .cause.type killed
recorded "$pid" .cause.sender.pid 1
recorded "$pid" .cause.prompted_by.signal_name SIGTERM
observer log --pid "$pid"
why_says deaf.service 'SIGKILL from systemd 1'
