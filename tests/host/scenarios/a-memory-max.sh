# MemoryMax on a Node unit: OOM, 502 from nginx, and the replacement is refused, since a helper still holds the port.
. ./lib.sh
cat >/etc/nginx/sites-enabled/default <<'END'
server {
    listen 127.0.0.1:80;
    location / { proxy_pass http://127.0.0.1:8080; proxy_read_timeout 3s; }
    location /eat { proxy_pass http://127.0.0.1:8080; proxy_read_timeout 240s; }
}
END
systemctl restart nginx.service
service shop.service User=www-data MemoryMax=256M MemorySwapMax=0 KillMode=process OOMPolicy=continue \
    Restart=always RestartSec=1 WorkingDirectory=/host/shop 'ExecStart=/usr/bin/node dist/main.js'
within 240 curl -sf http://127.0.0.1/health
helper=$(curl -sf http://127.0.0.1/helper)
first=$(main_pid shop.service)
# The request in flight gets its 502 at once; a later one times out, since the helper listens and accepts nobody.
answer=$(status_of http://127.0.0.1/eat 240)
echo "nginx answers $answer"
[[ $answer == 502 ]]
recorded "$first" .cause.type oom_kill
[[ $(status_of http://127.0.0.1/health) == 504 ]]
why_says :8080 "node $first (shop.service) was killed by the kernel's OOM killer (exit 137): shop.service reached its memory limit of 256 MiB" \
    'could not bind tcp 127.0.0.1:8080' "sleep $helper" 'holds it'
observer ports 8080 | tee -a /dev/stderr | grep -q "$helper"
# The remedy that `observer why` prints.
kill "$helper"
within 60 curl -sf http://127.0.0.1/health
why_says :8080 'serves tcp 127.0.0.1:8080 again'
systemctl stop shop.service
