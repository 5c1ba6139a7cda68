# `make run` serves a chat at http://localhost:8000/. `make test-quick` runs the tests that need nothing but Rust, `make test` runs every
# test, `make test-long` repeats the tests of failures many times. `make check` is what CI runs.

CARGO ?= cargo

.PHONY: help run run-llm test-quick test test-long tools fmt clippy lint audit check bench bench-quick bench-relay bench-products bench-smoke bench-search bench-build quality

help: ## Show this help
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: ## Build the server and serve http://localhost:8000/
	$(CARGO) run --release --locked -- serve

run-llm: ## The same with a small real model beside it (SmolLM2 behind llama.cpp's server)
	.ci/run-llm.sh --release --locked -- serve

tools: ## Install what the tests need beside Rust: Chromium, Prometheus, proxies, libfaketime, Python and Node packages, the small model
	.ci/install-test-tools.sh
	.ci/install-model.sh

test-quick: ## Run the tests that need nothing but Rust: neither a browser nor a model nor another server
	.ci/test.sh quick

test: tools ## Run every test, and print the time of each group
	.ci/test.sh all

test-long: tools ## Run every test with long chaos runs, many kills, many random cases and fuzzing: more than an hour
	@command -v cargo-fuzz >/dev/null || $(CARGO) install --locked cargo-fuzz
	.ci/test.sh long

fmt: ## Format the code: Rust, and with the tools of `make tools` JavaScript and Python
	$(CARGO) fmt --all
	tests/browser/node_modules/.bin/biome check --write
	target/tools/venv/bin/ruff format

clippy: ## Lint the Rust code
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

lint: ## Lint JavaScript, CSS and JSON with biome, and Python with ruff; `make tools` installs both
	tests/browser/node_modules/.bin/biome ci --error-on-warnings
	target/tools/venv/bin/ruff check
	target/tools/venv/bin/ruff format --check

audit: ## Hold the dependencies against deny.toml with cargo-deny, which is installed first when it is not there
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --offline check licenses bans sources
	$(CARGO) deny check advisories

check: ## What CI runs: formatting, lints, every test
	$(CARGO) fmt --all --check
	$(MAKE) tools lint clippy
	$(MAKE) test

bench: ## Measure Switchboard beside bare servers of the same job, and write docs/BENCHMARKS.md: three quarters of an hour on a quiet machine
	python3 benches/run.py full --write

bench-quick: ## The same with 1,000 connections and the servers in Rust, printed only: some minutes
	python3 benches/run.py quick

bench-relay: ## Measure the relay of a model's answers only: a quarter of an hour. `AGAINST=BINARY` compares with that one: half an hour
	python3 benches/run.py $(if $(AGAINST),compare --against $(AGAINST),relay) --write

bench-products: ## Install LiteLLM's proxy and Chainlit, and measure them at the same job: a quarter of an hour
	benches/products.sh --write

bench-smoke: ## Whether every server still does the job: 20 connections for some seconds each
	python3 benches/run.py smoke

bench-search: ## Measure a search by the number of passages, and the memory of the index: some minutes
	$(CARGO) bench --locked --bench search

quality: ## Evaluate the answers on the labelled questions, and write the baselines and docs/QUALITY.md; `HELD_OUT=1`: the other half, too; `EMBEDDINGS=1`: with an embedding model
	python3 benches/quality.py $(if $(HELD_OUT),--held-out) $(if $(EMBEDDINGS),--embeddings)

bench-build: ## Measure a first release build: CPU time, packages, size of the binary, the most expensive packages
	python3 benches/first_build.py
