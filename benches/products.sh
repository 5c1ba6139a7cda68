#!/usr/bin/env bash
# Installs LiteLLM's proxy and Chainlit below target/peers, with the versions in benches/peers, and measures them at the relay job
# beside the bare relay and Switchboard: a quarter of an hour. With --write the result goes into docs/BENCHMARKS.md.
set -euo pipefail
exec python3 "$(dirname "$0")/run.py" products "$@"
