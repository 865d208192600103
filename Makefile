RACE ?= $(shell command -v cc >/dev/null 2>&1 && echo -race)

.PHONY: run test soak bench microbench lint fuzz

run: ## start Caddy with this plugin and the example configuration
	.ci/xcaddy -- run --config example.Caddyfile

test: ## run all tests against real servers and a browser
	.ci/install redis-server chromium
	go test $(RACE) ./...

soak: ## the tests of coherence, leaks and memory at length, for half an hour or so
	.ci/install redis-server
	FILEWALLBALL_SOAK=1 go test -timeout 2h -v -run 'Coherence|Leaks|RandomIdentities' ./cache/redis

bench: ## compare side by side with file_server, forward_auth and nginx; some 15 minutes
	.ci/install redis-server
	for tool in wrk nginx libnginx-mod-http-lua strace; do .ci/install $$tool || true; done
	go run ./bench $(BENCH)

microbench: ## run the microbenchmarks
	.ci/install redis-server
	go test -run '^$$' -bench . -benchmem ./...

lint: ## check style and common mistakes
	gofmt -l . && go vet ./... && go tool staticcheck ./...

fuzz: ## fuzz each target for half a minute
	.ci/fuzz 30s
