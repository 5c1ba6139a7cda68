#!/usr/bin/env bash
# Installs what the tests need beside Rust: Chromium, libfaketime, Prometheus (target/tools/prometheus), the proxies of
# docs/PROXIES.md, a Python with `websockets`, ruff, trec_eval and an embedding model (target/tools/venv), the browser tests'
# packages and biome (tests/browser/node_modules). What is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

need() {
  command -v "$1" >/dev/null || { echo "error: $1 is needed: $2" >&2; exit 1; }
}

need node "install Node.js 20 or newer"
need npm "it comes with Node.js"
need python3 "install Python 3.11 or newer, with venv"

chromium="${CHROMIUM:-/usr/bin/chromium}"
if [ ! -x "$chromium" ]; then
  command -v apt-get >/dev/null || { echo "error: no Chromium at $chromium, and no apt-get to install it: set CHROMIUM" >&2; exit 1; }
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
fi
"$chromium" --version

# A server whose clock is wrong.
if ! ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1; then
  command -v apt-get >/dev/null || { echo "error: no libfaketime in /usr/lib, and no apt-get to install it: install faketime" >&2; exit 1; }
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends faketime >/dev/null
fi

# Only the two programs: what the package would install beside them is a service that starts, and its pages.
prometheus="${PROMETHEUS_BIN:-target/tools/prometheus/usr/bin}"
if [ ! -x "$prometheus/promtool" ] || [ ! -x "$prometheus/prometheus" ]; then
  command -v apt-get >/dev/null || { echo "error: no prometheus and promtool in $prometheus, and no apt-get to fetch them: set PROMETHEUS_BIN" >&2; exit 1; }
  apt-cache show prometheus >/dev/null 2>&1 || as_root apt-get update -qq
  rm -rf target/tools/prometheus
  mkdir -p target/tools/prometheus
  (cd target/tools/prometheus && apt-get -o APT::Sandbox::User=root download -qq prometheus && dpkg-deb --extract prometheus_*.deb . && rm prometheus_*.deb)
fi
"$prometheus/promtool" --version 2>&1 | head -n 1

# The packages would start a service each; the tests start the programs themselves.
missing=()
for program in nginx haproxy caddy openssl; do
  PATH="$PATH:/usr/sbin" command -v "$program" >/dev/null || missing+=("$program")
done
if [ "${#missing[@]}" -gt 0 ]; then
  command -v apt-get >/dev/null || { echo "error: ${missing[*]} needed, and no apt-get to install them" >&2; exit 1; }
  as_root apt-get update -qq
  as_root sh -euc '
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
      printf "#!/bin/sh\nexit 101\n" >"$policy" && chmod +x "$policy"
      trap "rm -f $policy" EXIT
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  ' sh "${missing[@]}"
fi

# Each tool is stamped with the sum of the file that pins it, so that a second run costs nothing.
stamped() {
  [ -f "$2" ] && [ "$(cat "$2")" = "$(sha256sum <"$1")" ]
}

venv=target/tools/venv
if ! stamped tests/clients/requirements.txt "$venv/.stamp"; then
  mkdir -p target/tools
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
  sha256sum <tests/clients/requirements.txt >"$venv/.stamp"
fi

modules=tests/browser/node_modules
if ! stamped tests/browser/package-lock.json "$modules/.stamp"; then
  (cd tests/browser && npm ci --no-audit --no-fund --loglevel=error)
  sha256sum <tests/browser/package-lock.json >"$modules/.stamp"
fi
