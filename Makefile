# Operon's targets: thin lines over cargo. `make help` lists them. They work from any directory
# (`make -C PATH`, `make -f PATH/Makefile`) and write only below the target directory, .tools and .operon.

.DEFAULT_GOAL := help
SHELL := /bin/sh

# The only makefile so far is this one; its directory may have a space in its name.
ROOT := $(shell cd "$$(dirname "$(strip $(MAKEFILE_LIST))")" && pwd)
IN = cd "$(ROOT)" &&

# The profile of the binary that `demo` and `bench` run; `fast` builds sooner and is little slower.
PROFILE ?= release
# Seconds of simulated failures for `simulate`.
SECONDS ?= 600
CARGO_DENY := 0.20.2

# Tests that need AWS: one emulator only, or what is at an address, such as http://127.0.0.1:4566 or `aws`.
LANE ?=
ENDPOINT ?=
# Not empty: with the functions as `make package` makes them.
PACKAGED ?=
# A deployment on AWS: its name, the processor of its functions, and further parameters `Key=value` of the template.
STAGE ?= main
ARCH ?= arm64
PARAMETERS ?=
export PARAMETERS
# Name of the deployment that `destroy` removes, where no terminal can be asked for it.
CONFIRM ?=
export CONFIRM

export CARGO_TERM_COLOR ?= auto

.PHONY: help demo test test-api test-aws test-browser check bench cost web explore fuzz simulate test-containers test-large pictures fmt docs advisories clean \
	package deploy agent destroy \
	need-rust need-python deny

help: ## Lists the targets.
	@$(IN) sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1	\2/p' Makefile | expand -t 24

demo: need-rust need-python ## Builds the binary and runs the demo flow to its end.
	@$(IN) cargo build --locked --profile $(PROFILE) -p operon
	@$(IN) tests/tools/demo "$$(tests/tools/binary $(PROFILE))"

test: need-rust need-python ## Runs every test: Rust, documentation, Python; prints totals.
	@$(IN) "$$(tests/find-python)" tests/tools/suites.py

check: need-rust need-python deny ## Format, lints, dependencies, documentation, shell scripts.
	$(IN) cargo fmt --all --check
	$(IN) cargo clippy --locked --workspace --all-targets -- -D warnings
	$(IN) cargo clippy --locked --workspace --test aws-ports -- -D warnings
	$(IN) PATH="$$PWD/.tools/bin:$$PATH" cargo deny --locked check --hide-inclusion-graph bans licenses sources
# With the examples, so that it has the features of what clippy has compiled; without them most crates are checked again.
	$(IN) RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --lib --bins --examples --quiet
	$(IN) cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	$(IN) for script in .ci/run tests/find-python tests/tools/agent-binary tests/tools/binary tests/tools/fuzz tests/tools/console tests/tools/container-engine tests/tools/demo tests/tools/pictures; \
		do sh -n "$$script" || exit 1; done
	$(IN) "$$(tests/find-python)" tests/tools/check_docs.py
	$(IN) "$$(tests/find-python)" infra/tools/check.py

web: ## Builds the console into web/dist; needs Node.js. The next build of the binary carries it.
	$(IN) tests/tools/console build

advisories: need-rust deny ## Known vulnerabilities of dependencies; needs the advisory database.
	$(IN) PATH="$$PWD/.tools/bin:$$PATH" cargo deny --locked check advisories

bench: need-rust need-python ## Measures Operon beside its peers; see tests/bench/README.md.
	@$(IN) cargo build --locked --profile $(PROFILE) -p operon
	$(IN) functions="$$("$$(tests/find-python)" infra/tools/package.py --binaries)" && \
		planner="$$("$$(tests/find-python)" tests/bench/planner.py $(PROFILE))" && "$$(tests/find-python)" tests/bench/run.py \
		--operon "$$(tests/tools/binary $(PROFILE))" --functions "$$functions" --planner "$$planner" --tools .tools/bench --json bench.json

explore: need-rust ## Visits the states that small plans can reach, within budgets of failures.
	$(IN) cargo run --locked --profile fast -p operon-testkit --example explore -- --all

fuzz: need-rust ## Lets libFuzzer look for input that breaks a parser, for SECONDS=600 each.
	$(IN) SECONDS=$(SECONDS) tests/tools/fuzz

simulate: need-rust ## Simulates executions under random failures for SECONDS=600.
	$(IN) cargo run --locked --profile fast -p operon-testkit --example simulate -- --seconds $(SECONDS)

test-containers: need-rust need-python ## Runs attempts and the agent in real containers; see docs/testing-containers.
	$(IN) cargo test --locked --workspace --test containers
	$(IN) agent="$$(tests/tools/agent-binary)" && "$$(tests/find-python)" tests/containers/agent/run.py \
		"$${DOCKER_HOST:-unix:///var/run/docker.sock}" "$$agent"

test-large: need-rust need-python ## A file of 5 GB through the agent, and what memory that takes.
	$(IN) OPERON_AGENT="$$(tests/tools/agent-binary)" "$$(tests/find-python)" tests/fargate/large.py

test-api: need-rust need-python ## The HTTP interface against its OpenAPI document.
	$(IN) "$$(tests/find-python)" -m unittest discover -s tests/api

test-browser: need-rust need-python ## The console in a browser, held to its limits of time; needs Node.js.
	$(IN) OPERON_MEASURE=1 tests/tools/console browser

test-aws: need-rust need-python ## Tests on emulators of AWS; LANE=ministack for one, ENDPOINT=... for another.
	$(IN) "$$(tests/find-python)" tests/aws/run.py $(if $(LANE),--lane "$(LANE)") \
		$(if $(ENDPOINT),--endpoint "$(ENDPOINT)") $(if $(PACKAGED),--packaged)

package: need-rust need-python ## Builds console and functions into target/lambda/*.zip; ARCH=x86_64; needs Node.js.
	$(IN) "$$(tests/find-python)" infra/tools/package.py --arch "$(ARCH)"

deploy: need-python package ## Makes or changes the deployment STAGE=main on AWS; see docs/operations.md.
# The parameters go by the environment: they may hold what the shell takes for its own.
	$(IN) "$$(tests/find-python)" infra/tools/deploy.py deploy --stage "$(STAGE)" --arch "$(ARCH)"

agent: need-rust need-python ## Puts the agent's image into the repository of STAGE=main, as deploy does.
	$(IN) "$$(tests/find-python)" infra/tools/deploy.py agent --stage "$(STAGE)"

destroy: need-python ## Removes the deployment STAGE=main, asking for its name (or CONFIRM=main); its data bucket stays.
	$(IN) "$$(tests/find-python)" infra/tools/deploy.py destroy --stage "$(STAGE)"

cost: need-rust ## Counts requests and prices 1,000 task runs, beside Step Functions.
	@$(IN) cargo run --locked --quiet -p operon-testkit --example cost

pictures: need-rust need-python ## Draws docs/images anew, from real executions; needs Node.js.
	@$(IN) tests/tools/console build
	@$(IN) cargo build --locked --profile $(PROFILE) -p operon
	$(IN) tests/tools/pictures "$$(tests/tools/binary $(PROFILE))"

fmt: need-rust ## Formats the Rust code.
	$(IN) cargo fmt --all

docs: need-rust ## Builds the crates' documentation.
	$(IN) cargo doc --locked --workspace --no-deps

clean: need-rust ## Removes what was built, the tools and the state of `make demo`.
	$(IN) cargo clean
	$(IN) rm -rf .tools .operon/demo bench.json

# What must be there, and what to do if it is not.

need-rust:
	@command -v cargo >/dev/null || { \
		echo "make: cargo not found; install Rust with rustup (https://rustup.rs)" >&2; exit 1; }
	@$(IN) cargo --version >/dev/null || { \
		echo "make: the Rust of rust-toolchain.toml is missing; run \`rustup toolchain install\`" >&2; exit 1; }
	@command -v "$${CC:-cc}" >/dev/null || { \
		echo "make: no C compiler ($${CC:-cc}), which Rust links with and SQLite is built by;" >&2; \
		echo "  apt install build-essential, dnf install gcc, or xcode-select --install" >&2; exit 1; }

# tests/find-python says itself what is missing.
need-python:
	@$(IN) tests/find-python >/dev/null

# Its debug build checks this workspace as fast and is compiled in a fraction of the time.
deny: need-rust
	@$(IN) [ "$$(.tools/bin/cargo-deny --version 2>/dev/null)" = "cargo-deny $(CARGO_DENY)" ] || \
		cargo install --locked --debug --root .tools cargo-deny --version $(CARGO_DENY)
