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
# Who was being served is told at once; who comes later waits for a listener that accepts nobody.
answer=$(status_of http://127.0.0.1/eat 240)
echo "nginx answers $answer"
[[ $answer == 502 ]]
recorded "$first" .cause.type oom_kill
[[ $(status_of http://127.0.0.1/health) == 504 ]]
tells :8080 "node $first (shop.service) was killed by the kernel's OOM killer: shop.service reached its memory limit of 256 MiB" \
    'could not bind tcp 127.0.0.1:8080' "sleep $helper" 'holds it'
observer ports 8080 | tee -a /dev/stderr | grep -q "$helper"
# The one thing to do that the story names.
kill "$helper"
within 60 curl -sf http://127.0.0.1/health
tells :8080 'serves tcp 127.0.0.1:8080 again'
systemctl stop shop.service
