# pm2 with eight workers on one socket that their master owns: a worker is SIGKILLed, then all are reloaded.
. ./lib.sh
export HOME=/root PM2_HOME=/run/pm2 PM2_DISCRETE_MODE=true
pm2=/host/shop/node_modules/.bin/pm2
cat >/run/web.js <<'END'
require('http').createServer((_, reply) => reply.end('ok')).listen(3000, '127.0.0.1');
END
"$pm2" start /run/web.js -i 8 >/dev/null
within 240 curl -sf http://127.0.0.1:3000
master=$(cat /run/pm2/pm2.pid)
worker=$("$pm2" pid web | head -1)
observer ports 3000 | tee -a /dev/stderr | grep -q "$master"
kill -KILL "$worker"
recorded "$worker" .cause.type killed
why_says "pid:$worker" 'killed by SIGKILL (exit 137) from bash'
before=$("$pm2" pid web | sort | tr '\n' ' ')
"$pm2" reload web >/dev/null
[[ $("$pm2" pid web | sort | tr '\n' ' ') != "$before" ]]
# The master kept the port throughout.
curl -sf http://127.0.0.1:3000
never_down :3000
"$pm2" kill >/dev/null
