#!/usr/bin/env bash
# Builds the container's file tree and runs it as a container would: an empty read-only root, another user, no network but a
# DNS server and a provider of this test. Needs root, and no Docker.
#
#   tests/container.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "$(id -u)" -ne 0 ]; then
    echo "not run: only root can make a root file system"
    exit 0
fi
# In namespaces of its own, so that nothing is left behind: mounts, network, processes.
if [ -z "${INSIDE:-}" ]; then
    if ! unshare -n -m -p -f true 2> /dev/null; then
        echo "not run: no namespaces can be made here"
        exit 0
    fi
    config/build/image.sh target/image
    INSIDE=1 exec unshare -n -m -p -f --mount-proc --kill-child "$0" "$@"
fi

user=65532
key=tg_0123456789abcdefghij
work=$(mktemp -d)
root=$work/root
chroot=$(command -v chroot)
say() { printf '== %s\n' "$*"; }
fail() {
    printf 'FAILED: %s\n' "$*" >&2
    tail -n 20 "$work"/*.log >&2 || true
    exit 1
}
await() {
    local what=$1
    shift
    for _ in $(seq 200); do
        if "$@" > /dev/null 2>&1; then return; fi
        sleep 0.05
    done
    fail "$what does not come"
}

ip link set lo up
mount -t tmpfs none "$work"
binary=target/image/usr/bin/tollgate

say "the binary is static: $(stat -c %s "$binary") bytes"
ldd "$binary" 2>&1 | grep -Eq 'statically linked|not a dynamic executable' || fail "ldd finds libraries"
grep -aq '/lib64/ld-linux' "$binary" && fail "it names a loader"
size=$(find target/image -type f -exec cat {} + | wc -c)
[ "$size" -lt 25000000 ] || fail "the tree holds $size bytes"

say "a provider, and a DNS server that knows its name"
python3 - > "$work/dns.log" 2>&1 << 'PYTHON' &
import socket, struct

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.53", 53))
print("ready", flush=True)
while True:
    query, client = server.recvfrom(512)
    end = 12
    while query[end]:
        end += query[end] + 1
    question = query[12 : end + 5]
    known = question.startswith(b"\x08provider\x04test\x00\x00\x01")
    answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + b"\x7f\x00\x00\x02" if known else b""
    status = b"\x81\x80" if question.startswith(b"\x08provider") else b"\x81\x83"
    server.sendto(query[:2] + status + struct.pack(">HHHH", 1, len(answer) and 1, 0, 0) + question + answer, client)
    print(question, flush=True)
PYTHON
mkdir "$work/demo"
(cd "$work/demo" && exec "$OLDPWD/$binary" demo > "$work/demo.log" 2>&1) &
await "the demo" grep -q '_mock/bill' "$work/demo.log"
port=$(sed -n 's|.*http://127.0.0.1:\([0-9]*\)/_mock/bill.*|\1|p' "$work/demo.log" | head -1)
python3 - "$port" > "$work/relay.log" 2>&1 << 'PYTHON' &
# The demo's provider is on 127.0.0.1; only its name leads to 127.0.0.2.
import socket, sys, threading

def copy(source, target):
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)

server = socket.create_server(("127.0.0.2", 8080))
print("ready", flush=True)
while True:
    client, _ = server.accept()
    provider = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    threading.Thread(target=copy, args=(client, provider), daemon=True).start()
    threading.Thread(target=copy, args=(provider, client), daemon=True).start()
PYTHON

await "the DNS server" grep -q ready "$work/dns.log"
await "the relay" grep -q ready "$work/relay.log"

say "a read-only root, /data of the user $user"
cp -a target/image "$root"
echo "nameserver 127.0.0.53" > "$root/etc/resolv.conf"
cat > "$root/config/tollgate.toml" << 'TOML'
[keys.app]
secret = { env = "TOLLGATE_KEY_APP" }
[upstreams.openai]
base_url = "http://provider.test:8080"
provider = "openai"
include_usage = "splice"
api_key = { env = "OPENAI_API_KEY" }
TOML
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o "mode=0700,uid=$user,gid=$user" none "$root/data"
if touch "$root/etc/x" 2> /dev/null; then fail "the root can be written"; fi

# As the image says: its variables, its user, its command.
inside() {
    env -i TOLLGATE_SERVER__LISTEN=0.0.0.0:4100 TOLLGATE_SERVER__ADMIN_LISTEN=127.0.0.1:4101 TOLLGATE_STORE__PATH=/data \
        TOLLGATE_KEY_APP=$key OPENAI_API_KEY=sk-provider "$chroot" --userspec=$user:$user "$root" /usr/bin/tollgate "$@"
}
inside serve > "$work/serve.log" 2>&1 &
await "an answer to health" inside health
pid=$(pgrep -u $user -f 'tollgate serve')
grep -q "^Uid:.$user.$user" "/proc/$pid/status" || fail "it runs as somebody else"

ask() {
    curl -sS -N --max-time 30 http://127.0.0.1:4100/v1/chat/completions -H "authorization: Bearer $key" \
        -H 'content-type: application/json' "$@"
}
say "a whole answer, by the provider's name"
ask -d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Say hello."}]}' | grep -q '"usage"' \
    || fail "no answer"
grep -q provider "$work/dns.log" || fail "nobody asked for the name"

say "SIGTERM lets a stream end"
ask -H 'x-mock-chunks: 20' -H 'x-mock-chunk-ms: 100' \
    -d '{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Say hello."}]}' > "$work/stream" &
stream=$!
await "a stream" grep -q 'data: ' "$work/stream"
kill -TERM "$pid"
await "the end of new connections" bash -c "! curl -s http://127.0.0.1:4100/livez"
grep -q 'DONE' "$work/stream" && fail "the stream was over too early to tell"
wait "$stream" || fail "the stream broke off"
grep -q 'data: \[DONE\]' "$work/stream" || fail "the stream was cut"
await "the end of the process" bash -c "! kill -0 $pid"
grep -q '"message":"stopped"' "$work/serve.log" || fail "it did not stop by itself"

say "the ledger has both"
inside report --format json | tee "$work/report.log" | grep -q '"requests": *2' || fail "not two requests"
inside ledger verify > "$work/verify.log" 2>&1 || fail "the ledger does not verify"
say "everything holds: $size bytes"
