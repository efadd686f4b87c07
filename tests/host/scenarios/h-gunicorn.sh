# gunicorn: the master kills a worker that hangs, and keeps the port.
. ./lib.sh
cat >/run/slow_app.py <<'END'
import signal, time


def app(environ, start_response):
    if environ["PATH_INFO"] == "/hang":
        signal.signal(signal.SIGABRT, signal.SIG_IGN)
        time.sleep(600)
    start_response("200 OK", [])
    return [b"ok"]
END
service api.service WorkingDirectory=/run \
    'ExecStart=/usr/bin/gunicorn --workers 2 --timeout 6 --bind 127.0.0.1:8087 slow_app:app'
within 240 curl -sf http://127.0.0.1:8087/
master=$(main_pid api.service)
curl -s -m 30 http://127.0.0.1:8087/hang || true
within 30 sh -c "observer log --unit api.service --kind exit | grep -q ."
observer log --unit api.service --kind exit
worker=$(observer log --unit api.service --kind exit --json | head -1 | node -p 'JSON.parse(require("fs").readFileSync(0)).process.pid')
recorded "$worker" .cause.sender.pid "$master"
why_says "pid:$worker" "from gunicorn $master"
observer ports 8087 | tee -a /dev/stderr | grep -q "$master"
within 30 curl -sf http://127.0.0.1:8087/
never_down :8087
systemctl stop api.service
