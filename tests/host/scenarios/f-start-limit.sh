# Five starts in a row get EADDRINUSE: systemd gives up, and does not mention the port.
. ./lib.sh
systemd-run --quiet --unit=squatter.service /usr/bin/python3 -m http.server 8085 --bind 127.0.0.1
within 60 curl -sf http://127.0.0.1:8085/
squatter=$(main_pid squatter.service)
cat >/run/systemd/system/late.service <<'END'
[Unit]
StartLimitIntervalSec=300
StartLimitBurst=5
[Service]
Restart=always
RestartSec=100ms
ExecStart=/usr/bin/python3 -m http.server 8085 --bind 127.0.0.1
END
systemctl daemon-reload
systemctl start late.service
within 240 systemctl is-failed --quiet late.service
within 60 sh -c 'systemctl show -p Result --value late.service | grep -qE "start-limit-hit|exit-code"'
why_says :8085 "python3 $squatter (squatter.service)" 'holds it' '5 '
why_says late.service 'could not bind tcp 127.0.0.1:8085'
systemctl stop squatter.service
