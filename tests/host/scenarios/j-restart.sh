# A storm of deaths across `systemctl restart`, a SIGKILL and an upgrade of the package: each is told once or counted. A stop leaves
# no program attached.
. ./lib.sh
links() {
    python3 - <<'END'
import ctypes
count, last = 0, 0
attributes = (ctypes.c_uint32 * 3)()
while True:
    attributes[0] = last
    # BPF_LINK_GET_NEXT_ID
    if ctypes.CDLL(None).syscall(321, 31, attributes, ctypes.sizeof(attributes)) != 0:
        break
    last, count = attributes[1], count + 1
print(count)
END
}
# How many runs went on where another had ended.
resumed() {
    observer log --kind session --json | grep -c '"resumed":true'
}
told() {
    observer log --kind exit --unit storm.service --json | grep -c '"code":77' || true
}
lost() {
    observer log --kind loss --json | node -e '
        const lines = require("fs").readFileSync(0, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
        const of = (event) => (event.lost.exit ?? 0) + (event.lost.unknown ?? 0);
        console.log(lines.reduce((sum, event) => sum + of(event), 0));
    '
}
one_run() {
    test "$(links)" -le "$watched"
}
another_run() {
    local pid
    pid=$(main_pid observer.service)
    [[ $pid != 0 && $pid != "$1" ]] && systemctl is-active --quiet observer.service
}
stopped() {
    test "$(links)" -le "$idle"
}
systemctl stop observer.service
idle=$(links)
systemctl start observer.service
watched=$(links)
echo "$idle links without the service, $watched with it"
test "$watched" -gt "$idle"
before=$(resumed || true)
deaths=3000
systemd-run --quiet --unit=storm.service --service-type=oneshot --no-block \
    /bin/bash -c "for ((n = 0; n < $deaths; n++)); do (exit 77); done; true"
within 30 sh -c 'observer log --kind exit --unit storm.service --json | grep -q "\"code\":77"'
systemctl restart observer.service
first=$(main_pid observer.service)
kill -9 "$first"
if ! within 240 another_run "$first"; then
    systemctl status --no-pager observer.service || true
    journalctl --no-pager -u observer.service | tail -n 40
    exit 1
fi
second=$(main_pid observer.service)
# Five starts a minute are the limit.
systemctl reset-failed observer.service
dpkg -i ./observer.deb
within 60 systemctl is-active --quiet observer.service
test "$(main_pid observer.service)" != "$second"
within 240 sh -c '! systemctl is-active --quiet storm.service && ! systemctl show -p ActiveState --value storm.service | grep -q activating'
# The last of it is stored with an orderly stop.
systemctl restart observer.service
echo "$(told) of $deaths told, $(lost) lost"
test "$(told)" -le "$deaths"
test "$(($(told) + $(lost)))" -ge "$deaths"
test "$(($(resumed) - ${before:-0}))" -ge 4
observer verify
# Only the last run's are left.
within 60 one_run
systemctl stop observer.service
within 60 stopped
test "$(systemctl show -p NFileDescriptorStore --value observer.service)" = 0
systemctl start observer.service
