# What a person can do here. `make` prints this list.
.DEFAULT_GOAL := help

BIN      := $(CURDIR)/bin
TOOLS    := $(BIN)/tools
MODULES  := proto pkg services e2e
SERVICES := changes-reader selector revs-diff doc-fetcher bulk-writer replicator
GO       := go

.PHONY: help demo serve test test-short race fuzz bench plot lint fmt proto proto-baseline proto-check build tools clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## two databases, the whole pipeline, 50,000 documents, a verify at the end
	$(BIN)/millrace demo

serve: build ## every service in one process, with an embedded broker
	$(BIN)/millrace serve

build: ## every program into bin/
	@mkdir -p $(BIN)
	$(GO) build -o $(BIN)/millrace ./services/millrace
	@for s in $(SERVICES); do echo "go build $$s"; $(GO) build -o $(BIN)/$$s ./services/$$s || exit 1; done

test: ## all that CI checks: format, vet, staticcheck, generated code, unit, race, e2e
	bash .ci/run

test-short: ## unit tests without the race detector and without servers from npm
	@for m in $(MODULES); do (cd $$m && $(GO) test -short ./...) || exit 1; done

race: ## unit tests under the race detector
	@for m in proto pkg services; do (cd $$m && $(GO) test -race ./...) || exit 1; done

fuzz: ## every fuzz test for FUZZTIME each (30s); FUZZ=FuzzChanges chooses by the beginning of the name
	bash .ci/fuzz $(or $(FUZZTIME),30s) $(FUZZ)

bench: build ## figures beside the bare limit and CouchDB's own replicator; SOURCE=url TARGET=url
	@test -n "$(SOURCE)" -a -n "$(TARGET)" || { echo "usage: make bench SOURCE=http://... TARGET=http://... [BENCH='-rows one,latency -runs 3']"; exit 2; }
	cd e2e && $(GO) run ./bench -source "$(SOURCE)" -target "$(TARGET)" -millrace $(BIN)/millrace $(BENCH)

plot: ## docs/routing.svg: the cost of routing a document against the number of jobs
	cd e2e && $(GO) run ./routeplot -o ../docs/routing.svg

lint: tools ## format, vet, staticcheck
	@out=$$(gofmt -l $(MODULES)); test -z "$$out" || { echo "not gofmt-ed:"; echo "$$out"; exit 1; }
	@for m in $(MODULES); do (cd $$m && $(GO) vet ./... && $(TOOLS)/staticcheck ./...) || exit 1; done

fmt: ## gofmt everything
	gofmt -w $(MODULES)

proto: tools ## generate Go from the messages in proto/
	cd proto && PATH=$(TOOLS):$$PATH buf lint && PATH=$(TOOLS):$$PATH buf generate

proto-baseline: tools ## at a release: what messages must stay compatible with from now on
	cd proto && $(TOOLS)/buf build --exclude-source-info -o baseline.binpb

proto-check: tools ## are the generated files what their source says, and compatible with the baseline?
	bash .ci/proto-check $(TOOLS)

tools: $(TOOLS)/staticcheck ## buf, protoc-gen-go, staticcheck, at the versions of .ci/tools

$(TOOLS)/staticcheck: .ci/tools/go.mod
	@mkdir -p $(TOOLS)
	cd .ci/tools && GOWORK=off $(GO) build -o $(TOOLS)/ github.com/bufbuild/buf/cmd/buf google.golang.org/protobuf/cmd/protoc-gen-go honnef.co/go/tools/cmd/staticcheck
	@touch $@

clean: ## remove bin/
	rm -rf $(BIN)
