module millrace/e2e

go 1.26.8

require (
	millrace/pkg v0.0.0
	millrace/proto v0.0.0
)

replace millrace/proto => ../proto

replace millrace/pkg => ../pkg
