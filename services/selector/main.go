// The program selector decides for every job of a feed which rows of a batch it wants.
package main

import (
	"millrace/pkg/service"
	"millrace/services/selector/selector"
)

func main() {
	service.Main(selector.Name, "decides for every job of a feed which rows of a batch it wants.", selector.Serve)
}
