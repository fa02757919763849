// Command enrichd enriches candidate profiles; see README.md.
package main

import (
	"os"

	"github.com/enrichd/enrichd/cmd"
)

func main() { os.Exit(cmd.Main(os.Args[1:])) }
