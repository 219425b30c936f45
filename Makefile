# rustup adds its folder in login shells only. It comes first, as there: a rustc of the system would be mixed in.
export PATH := $(HOME)/.cargo/bin:$(PATH)

PREFIX ?= /usr/local

.PHONY: check demo docs features install setup test test-hostile test-browser test-windows test-deep fuzz soak bench clean

demo: ## play real videos, find faces in them, and save pictures in demo-output/ (VIDEO=path for another video)
	@scripts/demo

docs: ## the pages of every interface, in target/docs
	@scripts/docs

install: ## the command, and the library for C and C++, into PREFIX (/usr/local; as the user who may write there)
	@scripts/install $(abspath $(PREFIX))

setup: ## install what builds, tests and the demo need; prints a list first (Debian, Ubuntu)
	@scripts/setup system cpp python demo

check: ## the quick checks before a commit: formatting, prose, interfaces, scripts, licences, lints, unit tests
	@scripts/check

features: ## check each crate alone, without default features and with each feature (TOOLCHAIN=+1.89.0)
	@scripts/features $(TOOLCHAIN)

test: ## the whole suite
	@scripts/test

test-hostile: ## attack the command with hostile clients, servers, publishers and files (two minutes)
	@cargo build --quiet --package framelane-cli
	@python3 tests/hostile $(or $(CARGO_TARGET_DIR),target)/debug/framelane --jobs 2

test-windows: ## the core's tests for Windows, under Wine, and type checks for its tool chains (installs Wine)
	@scripts/test-windows

test-deep: ## the long forms: deeper models, mutants, thousands of kills, sanitizers, fuzzing, a soak (an hour or more)
	@scripts/test-deep

fuzz: ## every fuzz target for SECONDS each (60)
	@scripts/fuzz $(or $(SECONDS),60)

soak: ## a publisher and six readers coming, going and killed for MINUTES (30)
	@scripts/soak $(or $(MINUTES),30)

bench: ## measure against peers, side by side (minutes)
	@bench/run

clean:
	cargo clean
	rm -rf .venv .cache demo-output
