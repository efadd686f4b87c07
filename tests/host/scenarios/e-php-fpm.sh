# php-fpm kills a child that takes too long; then the master dies and leaves its socket file behind.
. ./lib.sh
fpm=$(systemctl list-unit-files --no-legend 'php*-fpm.service' | awk '{print $1; exit}')
version=${fpm%-fpm.service}
pool=$(echo /etc/php/*/fpm/pool.d/www.conf)
printf 'request_terminate_timeout = 2\nlisten = /run/php/fpm.sock\n' >>"$pool"
cat >/etc/nginx/sites-enabled/php <<'END'
server {
    listen 127.0.0.1:82;
    location / { include fastcgi_params; fastcgi_param SCRIPT_FILENAME /run/slow.php; fastcgi_pass unix:/run/php/fpm.sock; }
}
END
echo '<?php while (true) { usleep(100000); }' >/run/slow.php
systemctl restart "$fpm" nginx.service
master=$(main_pid "$fpm")
[[ $(status_of http://127.0.0.1:82/) == 502 ]]
observer log --unit "$fpm" --kind exit
child=$(observer log --unit "$fpm" --kind exit --json | head -1 | node -p 'JSON.parse(require("fs").readFileSync(0)).process.pid')
recorded "$child" .cause.sender.pid "$master"
why_says "pid:$child" "from php-fpm"
# SIGKILL for master and children at once: nobody removes the socket file. Restart=no, or the unit would start again.
mkdir -p "/run/systemd/system/$fpm.d"
printf '[Service]\nRestart=no\n' >"/run/systemd/system/$fpm.d/no-restart.conf"
systemctl daemon-reload
systemctl kill -s KILL "$fpm"
recorded "$master" .cause.type killed
[[ -S /run/php/fpm.sock ]]
# The next server that does not remove the file first gets EADDRINUSE.
next=$(node -e '
    console.log(process.pid);
    require("net").createServer().on("error", () => process.exit(98)).listen("/run/php/fpm.sock");
' || true)
recorded "$next" .cause.type stale_socket_file
why_says /run/php/fpm.sock "$version" "node $next" 'could not bind' 'no process serves it'
rm "/run/systemd/system/$fpm.d/no-restart.conf"
systemctl daemon-reload
systemctl reset-failed "$fpm" || true
systemctl stop "$fpm"
