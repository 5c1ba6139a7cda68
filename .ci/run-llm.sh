#!/usr/bin/env bash
# Runs Switchboard with a real model behind it: SmolLM2-135M-Instruct, served by llama.cpp on this machine.
# Arguments go to `cargo run`, as in: .ci/run-llm.sh --release
set -euo pipefail
cd "$(dirname "$0")/.."

.ci/install-model.sh
# The model's server ends when its standard input does, which is held open by this shell alone.
coproc MODEL { exec target/real-model/venv/bin/python tests/real_model/serve.py --threads "${MODEL_THREADS:-1}"; }
if ! read -r ready base_url <&"${MODEL[0]}" || [ "$ready" != ready ]; then
    echo "The model did not start; to install it again: rm -r target/real-model" >&2
    exit 1
fi
echo "The model answers at $base_url"
export SWITCHBOARD__PROVIDER__KIND=openai
export SWITCHBOARD__PROVIDER__BASE_URL="$base_url"
export SWITCHBOARD__PROVIDER__MODEL=smollm2-135m-instruct
# What so small a model has to say is said by then.
export SWITCHBOARD__PROVIDER__MAX_ANSWER_TOKENS="${SWITCHBOARD__PROVIDER__MAX_ANSWER_TOKENS:-256}"
cargo run "$@"
