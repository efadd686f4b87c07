# Functions that every scenario sources. A scenario fails at its first command that fails.

set -euo pipefail

# Repeats a command until it succeeds, for at most so many seconds: `within 20 curl …`.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= end)); then
            echo "did not succeed in time: $*"
            return 1
        fi
        sleep 0.2
    done
}

# `observer why` of a subject prints all these words: `why_says :8080 'killed by' 'holds it'`. A line break counts as a blank.
why_says() {
    local subject=$1 word
    shift
    for word in "$@"; do
        if ! within 90 why_has "$subject" "$word"; then
            echo "\`observer why $subject\` does not print \"$word\":"
            observer why "$subject" || true
            return 1
        fi
    done
    echo "\$ observer why $subject"
    observer why "$subject"
}

why_has() {
    observer why "$1" | tr -s ' \n' ' ' | grep -qF -- "$2"
}

# No incident of a subject is an outage. A function, since bash does not end at a `! command` that fails.
never_down() {
    if observer why "$1" --json | grep '"outage_seconds"'; then
        echo "$1 is said to have been down"
        return 1
    fi
}

# An event of a process in the store has this value: `recorded PID .cause.type killed`.
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

# Makes a service of these lines and starts it: `service shop.service 'ExecStart=…' …`.
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

# The HTTP status of a reply: `status_of URL [SECONDS]`.
status_of() {
    curl -s -o /dev/null -m "${2:-10}" -w '%{http_code}' "$1" || true
}
