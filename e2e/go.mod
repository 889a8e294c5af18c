module millrace/e2e

go 1.26.8

require (
	millrace/pkg v0.0.0
	millrace/proto v0.0.0
)

require (
	github.com/go-json-experiment/json v0.0.0-20260820222146-c27c302e5fc3 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	pgregory.net/rapid v1.3.0 // indirect
)

replace millrace/proto => ../proto

replace millrace/pkg => ../pkg
