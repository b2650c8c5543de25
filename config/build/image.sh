#!/usr/bin/env bash
# Builds what the container image holds: a static binary and the files around it. The Dockerfile runs this, and so can you:
#
#   config/build/image.sh [FOLDER]        default target/image
#
# The binary is linked with the C library of the machine that builds (glibc of 2.34 or later, or musl), so that it runs in an
# empty root: names are resolved by /etc/hosts and /etc/resolv.conf without any other file, certificates of public
# authorities and time zones are in it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

out=${1:-target/image}
size_max=$((25 * 1000 * 1000))
# Whom the container runs as; the number that distroless images use for "nonroot".
user=65532

target=$(rustc -vV | sed -n 's/^host: //p')
# With a target that is named, the flag does not reach build scripts and procedural macros, which cannot be static.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" cargo build --release --locked --bin tollgate --target "$target"
binary=${CARGO_TARGET_DIR:-target}/$target/release/tollgate

if ldd "$binary" 2>&1 | grep -q '=>'; then
    echo "$binary is not static:" >&2
    ldd "$binary" >&2
    exit 1
fi

rm -rf "$out"
install -D -m 0755 "$binary" "$out/usr/bin/tollgate"
install -D -m 0644 LICENSE "$out/usr/share/doc/tollgate/LICENSE"
install -d -m 0755 "$out/etc" "$out/config"
install -d -m 0700 "$out/data"
echo "tollgate:x:$user:$user::/data:/usr/bin/tollgate" > "$out/etc/passwd"
echo "tollgate:x:$user:" > "$out/etc/group"

size=$(find "$out" -type f -exec cat {} + | wc -c)
echo "$out holds $size bytes"
if [ "$size" -gt "$size_max" ]; then
    echo "that is more than $size_max" >&2
    exit 1
fi
