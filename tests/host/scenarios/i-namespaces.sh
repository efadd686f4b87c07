# As in a container: own pid and network namespaces, and the same port as a server outside.
. ./lib.sh
systemd-run --quiet --unit=outside.service /usr/bin/python3 -m http.server 8088 --bind 127.0.0.1
within 60 curl -sf http://127.0.0.1:8088/
outside=$(main_pid outside.service)
cat >/run/inside.sh <<'END'
ip link set lo up
python3 -m http.server 8088 --bind 127.0.0.1 &
until curl -sf http://127.0.0.1:8088/ >/dev/null; do sleep 0.2; done
python3 -m http.server 8088 --bind 127.0.0.1
kill -KILL %1
sleep 600
END
service inside.service 'ExecStart=/usr/bin/unshare --net --pid --fork --mount-proc --kill-child /bin/bash /run/inside.sh'
why_says :8088 'could not bind tcp 127.0.0.1:8088' 'inside.service'
observer log --port 8088 --kind bind --json | node -e '
    const bind = JSON.parse(require("fs").readFileSync(0, "utf8").trim().split("\n")[0]);
    const outside = Number(process.argv[1]);
    const [holder] = bind.holders;
    console.log(bind.process.pid, bind.process.ns_pid, holder.process.pid, holder.process.ns_pid);
    const own = bind.process.ns_pid > 0 && holder.process.ns_pid > 0 && bind.process.ns_pid !== bind.process.pid;
    process.exit(own && bind.holders.length === 1 && holder.process.pid !== outside ? 0 : 1);
' "$outside"
within 30 sh -c 'observer log --unit inside.service --kind exit | grep -q "SIGKILL from bash"'
observer log --unit inside.service --kind exit
# `observer ports` lists both, each in its network namespace.
curl -sf http://127.0.0.1:8088/ >/dev/null
observer ports 8088 | tee -a /dev/stderr | grep -q "$outside"
systemctl stop inside.service outside.service
