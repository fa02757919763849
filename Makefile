# Everything that a developer or CI does. `make help` lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Public test data beside the checkout is used when it is there.
export ENRICHD_CORPORA ?= $(wildcard $(abspath ../shared/corpora))

GENERATED := graph/exec resolvers

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

.PHONY: build
build: ## build ./enrichd
	go build -o enrichd .

.PHONY: test
test: postgres ## run every test (it starts its own PostgreSQL)
	go test ./...

.PHONY: race
race: postgres ## run every test under the race detector
	go test -race ./...

.PHONY: kill
kill: postgres ## kill the server 200 times at random instants and audit the books after each
	go test ./cmd -count=1 -run '^TestKillLoop$$' -v -timeout 1h -kill.rounds=200

.PHONY: ledger
ledger: postgres ## take 10,000 random steps with the ledger beside a model of it
	go test ./billing -count=1 -run '^TestStateMachine$$' -v -timeout 1h -ledger.steps=10000

.PHONY: lint
lint: ## vet and staticcheck
	go vet ./...
	go tool staticcheck $$(go list ./... | grep -v /graph/exec | grep -v /testschema)

.PHONY: format
format: ## format the Go code
	gofmt -w $$(git ls-files -co --exclude-standard '*.go')

.PHONY: generate
generate: ## generate graph/exec from graph/schema and gqlgen.yml
	go tool gqlgen generate

.PHONY: verify
verify: lint ## formatting, lint, generated code current, import rules, schema rules
	@out=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); [ -z "$$out" ] || { echo "not formatted (make format):"; echo "$$out"; exit 1; }
	@before=$$(cat $$(git ls-files -co --exclude-standard $(GENERATED)) | sha256sum); $(MAKE) -s generate; \
	after=$$(cat $$(git ls-files -co --exclude-standard $(GENERATED)) | sha256sum); \
	[ "$$before" = "$$after" ] || { echo "generated code was not current; make generate has made it so: commit it"; exit 1; }
	go mod verify >/dev/null
	go test ./internal/archtest ./graph

.PHONY: conformance
conformance: postgres ## other people's suites and clients, and raw probes, against the built server (needs Node)
	@command -v npm >/dev/null || echo "npm is not installed: the conformance suites are skipped"
	go test -count=1 -v ./graph/conformance

# An empty ENRICHD_TEST_NPM leaves out what comes from npm; anything else insists on it.
.PHONY: published
published: export ENRICHD_TEST_NPM ?= 1
published: postgres ## linters and libraries of npm, at pinned versions, on the REST API and its webhooks
	@[ -n "$$ENRICHD_TEST_NPM" ] || echo "ENRICHD_TEST_NPM is empty: what comes from npm is NOT tested"
	go test -count=1 -v ./rest -run '^(TestLinters|TestPublishedLibraries)$$'

.PHONY: bench
bench: postgres ## benchmarks against their references, one JSON line each
	go run ./bench

# The tests need the PostgreSQL programs (initdb, postgres), not a running server.
.PHONY: postgres
postgres:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb /opt/homebrew/opt/postgresql*/bin/initdb >/dev/null 2>&1 \
	|| if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -y -qq postgresql >/dev/null; \
	else echo "PostgreSQL 15 or newer is needed: apt-get install postgresql, or brew install postgresql@17"; exit 1; fi
