RACE ?= $(shell command -v cc >/dev/null 2>&1 && echo -race)
TEST = test $(RACE) -timeout 30m

.PHONY: run build test soak bench microbench lint fuzz

run: ## start Caddy with this plugin and the example configuration
	@echo "Building Caddy with this plugin; the first time, this takes some minutes."
	.ci/xcaddy build --with github.com/filewallball/caddy-filewallball=. --output ./caddy
	@echo "Starting Caddy with example.Caddyfile: http://localhost:8080/ (Ctrl-C ends it)"
	./caddy run --config example.Caddyfile

build: ## leave Caddy with this plugin in ./caddy
	@echo "Building Caddy with this plugin; the first time, this takes some minutes."
	.ci/xcaddy build --with github.com/filewallball/caddy-filewallball=. --output ./caddy

test: ## run all tests, against real servers and a browser; installs what is missing
	.ci/install redis-server chromium
	.ci/install-frameworks
	.ci/install-checkers
	go $(TEST) ./...
	go -C bench $(TEST) ./...
	go -C handlers/e2e $(TEST) ./...

soak: ## run the tests of coherence, faults, leaks and memory at length; about half an hour
	.ci/install redis-server
	FILEWALLBALL_SOAK=1 go test -timeout 2h -v -run 'Coherence|Leaks|RandomIdentities' ./cache/redis
	FILEWALLBALL_SOAK=1 go test -v -run ManyRecords ./cache/memory
	FILEWALLBALL_SOAK=1 go -C handlers/e2e test -timeout 2h -v ./faults

bench: ## compare with file_server, forward_auth and nginx; about 25 minutes
	.ci/install redis-server
	for tool in wrk nginx libnginx-mod-http-lua strace; do .ci/install $$tool || true; done
	go -C bench run . $(BENCH)

microbench: ## run the microbenchmarks
	.ci/install redis-server
	go test -run '^$$' -bench . -benchmem ./...

lint: ## check style and common mistakes
	.ci/lint

fuzz: ## fuzz each target for half a minute
	.ci/fuzz 30s
