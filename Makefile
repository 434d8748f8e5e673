.DEFAULT_GOAL := help
.PHONY: help setup up test lint generate loadtest

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## Install what building and testing need
	@scripts/setup

up: setup ## Install what is missing, build, run `dgm dev`
	cargo run --release --locked -- dev

test: setup ## Every test, against real servers that the run starts itself
	cargo test --workspace --locked

lint: ## Formatting and clippy, warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

generate: ## Write the generated files anew (openapi.json, docs/METRICS.md)
	cargo build --locked --bin dgm
	target/debug/dgm openapi > openapi.json
	target/debug/dgm metrics > docs/METRICS.md
