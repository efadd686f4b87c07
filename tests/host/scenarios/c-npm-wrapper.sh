# supervisor kills an npm wrapper; its node child survives and keeps the port, so that the next start gets EADDRINUSE.
. ./lib.sh
cat >/etc/supervisor/conf.d/shop.conf <<'END'
[program:shop]
directory=/host/shop
command=/host/shop/node_modules/.bin/npm start
environment=PORT="8081",HOME="/tmp"
stopsignal=KILL
stopasgroup=false
killasgroup=false
startretries=1
startsecs=5
autorestart=false
END
systemctl restart supervisor.service
within 240 curl -sf http://127.0.0.1:8081/health
wrapper=$(supervisorctl pid shop)
child=$(observer ports 8081 --json | node -p 'JSON.parse(require("fs").readFileSync(0)).holders[0].process.pid')
supervisorctl stop shop
recorded "$wrapper" .cause.type killed
curl -sf http://127.0.0.1:8081/health
supervisorctl start shop || true
why_says :8081 'could not bind tcp 127.0.0.1:8081' "node $child" 'holds it'
observer log --kind exit --pid "$wrapper" | tee -a /dev/stderr | grep -q 'from supervisord'
kill "$child"
systemctl stop supervisor.service
