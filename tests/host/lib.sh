# What the nights have in common. Sourced by each of them; a night fails at the first command that does.

set -euo pipefail

# Waits for an effect that comes when it comes: `within 20 curl …`.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= end)); then
            echo "not within the time: $*"
            return 1
        fi
        sleep 0.2
    done
}

# The story of a subject has all these words: `tells :8080 'killed by' 'holds it'`. Line breaks count as blanks.
tells() {
    local subject=$1 word
    shift
    for word in "$@"; do
        if ! within 90 told "$subject" "$word"; then
            echo "the story of $subject lacks \"$word\":"
            observer why "$subject" || true
            return 1
        fi
    done
    echo "\$ observer why $subject"
    observer why "$subject"
}

told() {
    observer why "$1" | tr -s ' \n' ' ' | grep -qF -- "$2"
}

# The recorded events of a process have this: `recorded PID .cause.type killed`.
recorded() {
    within 90 has_event "$@" || {
        observer log --pid "$1" --json
        return 1
    }
}

has_event() {
    observer log --pid "$1" --json | node -e '
        const [path, value] = process.argv.slice(1);
        const at = (event) => path.split(".").slice(1).reduce((found, key) => found?.[key], event);
        const lines = require("fs").readFileSync(0, "utf8").trim().split("\n");
        process.exit(lines.some((line) => String(at(JSON.parse(line))) === value) ? 0 : 1);
    ' "$2" "$3"
}

main_pid() {
    systemctl show -p MainPID --value "$1"
}

# A service with these lines, started: `service shop.service 'ExecStart=…' …`.
service() {
    local name=$1
    shift
    {
        echo '[Service]'
        printf '%s\n' "$@"
    } >"/run/systemd/system/$name"
    systemctl daemon-reload
    systemctl start "$name"
}

# The answer's number: `status_of URL [SECONDS]`.
status_of() {
    curl -s -o /dev/null -m "${2:-10}" -w '%{http_code}' "$1" || true
}
