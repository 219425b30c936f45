# cargo is often found only by login shells.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: demo test bench clean

demo: ## play a real clip, find people in it, and leave pictures in demo-output/ (VIDEO=path for another one)
	@scripts/demo

test: ## the whole suite
	@scripts/test

bench: ## measure against peers, side by side (minutes)
	@bench/run

clean:
	cargo clean
	rm -rf .venv .cache demo-output
