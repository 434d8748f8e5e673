.DEFAULT_GOAL := help
.PHONY: help setup up test faults-test hostile-test pooler-test hostile-requests-test scale-test lint generate bench loadtest loadtest-proofs k8s-test scale-out peers-test schema-test clients-test lint-migrations migrations-test restore-drill samples-test bucket-test observe alerts-test telemetry-cost page-test deny image image-test

help: ## This list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## Install what building and testing need
	@scripts/setup

up: ## Install what is missing, build, run `dgm dev`
	@scripts/setup up
	cargo run --locked -- dev

# Tests wait more than they compute, so more of them run at a time than there are processors.
export RUST_TEST_THREADS ?= $(shell expr 3 '*' $$(nproc))

test: setup ## Every test, against real servers that the run starts itself
	@scripts/test

faults-test: setup ## The long forms of the fault tests, one after the other, with a release binary
	DGM_TEST_READS=1000000 DGM_TEST_ROUNDS=20 DGM_TEST_ENTRIES=100000 cargo test --release --locked --test faults -- \
		--test-threads 1 --nocapture coherence durability cluster zipf

hostile-test: setup ## The suites api and faults with every parameter that a DBA may set on the role set against the service
	DGM_TEST_HOSTILE=1 cargo test --locked --test api --test faults

pooler-test: setup ## The suite api through PgBouncer in session mode
	DGM_TEST_POOLER=1 cargo test --locked --test api

hostile-requests-test: setup ## 20,000 generated hostile requests and 40,000 requests after refusals (SEED=N for others)
	DGM_TEST_HOSTILE_REQUESTS=20000 DGM_TEST_REFUSALS=40000 DGM_TEST_SEED=$(or $(SEED),0) cargo test --locked --test api -- --nocapture \
		http::hostile_requests http::refusals

scale-test: setup ## The plans of all statements at a million entries and ten million samples
	DGM_TEST_FILL=1000000 cargo test --locked --test api -- --nocapture plans

lint: ## Formatting, clippy (warnings are errors), the number of crates, openapi.json against the OpenAPI 3.1 schema
	bin=$$(scripts/venv openapi openapi-spec-validator==0.9.0) && $$bin/openapi-spec-validator openapi.json
	scripts/crate-budget
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

generate: setup ## Write the generated files anew (openapi.json, docs, the lists of objects and checksums)
	cargo build --locked --bin dgm
	target/debug/dgm openapi > openapi.json
	target/debug/dgm metrics > docs/METRICS.md
	target/debug/dgm observability --output .
	DGM_GENERATE=1 cargo test --locked --test deploy -- schema_reference history_of_migrations

bench: ## The ceiling table in docs/PERFORMANCE.md: the service beside a bare handler (ARGS for options, --help lists them)
	@scripts/setup wrk
	cargo bench --locked --bench ceiling -- $(ARGS)

PROFILE ?= targets
loadtest: ## Goose's verdict on a throwaway service, PostgreSQL and Redis: PROFILE=targets (smoke, spike, soak, ...), ARGS for more
	@scripts/setup python3
	cargo build --release --locked --workspace
	PROFILE=$(PROFILE) scripts/with-dev --redis --auth --traces target/release/dgm-loadtest --keep $(ARGS)

loadtest-proofs: ## That the load test sees what is wrong: a delay, no cache, an index less, a small pool, each called by its name
	@scripts/setup python3
	cargo build --release --locked --workspace
	scripts/loadtest-proofs

image: ## The images dgm-service:VERSION and dgm-loadtest:VERSION (needs Docker)
	@scripts/image

image-test: ## The images and compose.yaml by a Docker daemon of its own, on stand-ins of the base images (as root, minutes)
	@scripts/image-test

k8s-test: setup ## Every overlay as kustomize builds it: schemas of Kubernetes 1.30 to 1.34 and of the operators, checkov (needs pip and the network)
	@scripts/k8s-test

scale-out: setup ## 1, 2 and 4 replicas behind a balancer, a read replica, a Redis Cluster: errors, coherence, what a request costs
	@scripts/setup haproxy python3
	cargo build --release --locked --workspace
	DGM__JOBS__ENABLED=false scripts/with-dev --auth scripts/scale-out

peers-test: setup ## Runs written by openevolve's and shinka's own code, imported and compared (needs pip and the network)
	cargo build --release --locked --bin dgm
	scripts/with-dev tests/peers/run

schema-test: setup ## schemathesis against a throwaway service (needs pip and the network)
	cargo build --release --locked --bin dgm
	scripts/with-dev scripts/schemathesis

clients-test: setup ## Clients that openapi-python-client and openapi-generator build from openapi.json, against a throwaway service (needs pip and the network)
	cargo build --locked --bin dgm
	DGM=target/debug/dgm scripts/with-dev tests/clients/run

lint-migrations: setup ## Every migration against the rules of .squawk.toml (needs pip and the network)
	@scripts/squawk

migrations-test: setup ## The schema is moved under the load of goose; DGM_OLD=PROGRAM adds the version before
	cargo build --release --locked --workspace
	scripts/with-dev scripts/migrate-under-load

restore-drill: ## A database is lost under load and restored from its backup, to the end and to a moment; then its backup is damaged
	@scripts/setup pgbackrest python3
	cargo build --release --locked --workspace
	scripts/restore-drill

samples-test: setup ## A hundred million samples in 24 partitions: ingest, ranges, retention (SAMPLES=N for fewer)
	cargo build --release --locked --workspace
	DGM__SAMPLES__RETENTION_MONTHS=24 scripts/with-dev scripts/samples-at-scale

bucket-test: setup ## An S3 server takes a month, which pyarrow reads, and files of entries (needs pip and the network)
	cargo build --release --locked --bin dgm
	scripts/with-dev tests/buckets/run

observe: setup ## `dgm dev` with Prometheus and Alertmanager beside it, all rules loaded; prints the addresses
	cargo build --release --locked --bin dgm
	@scripts/observe

alerts-test: setup ## Every real fault, each reported to a webhook behind Alertmanager; every query after two minutes of load
	DGM_TEST_FAULTS=99 DGM_TEST_LIVE_SECONDS=120 cargo test --locked --test deploy -- --test-threads 1 --nocapture observability

telemetry-cost: ## Hot reads with and without telemetry, scrapes under load (UNSCRAPED_MINUTES=30: memory that nobody scrapes)
	@scripts/setup wrk python3
	cargo build --release --locked --bin dgm
	scripts/with-dev scripts/telemetry-cost

page-test: setup ## The status page in headless Chromium, also with Redis, PostgreSQL and the service gone (PICTURES=DIR)
	@scripts/setup chromium python3
	cargo build --locked --bin dgm
	DGM=target/debug/dgm PAGE_PICTURES=$(PICTURES) tests/page/run

deny: ## Licences, advisories and sources of the dependencies (needs cargo-deny and the network)
	cargo deny check
