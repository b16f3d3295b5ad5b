// SPDX-License-Identifier: Apache-2.0

// An example handler: counts the words of each value. go build -o count_words ./count_words; worker.command = ./count_words
package main

import (
	"bytes"
	"errors"

	"weftworker/weft"
)

func handle(record *weft.Record) error {
	if record.Value == nil {
		return errors.New("a record without a value")
	}
	weft.Log(weft.Debug, "%s has %d words", record.Key, len(bytes.Fields(record.Value)))
	return nil
}

func main() { weft.Run(handle) }
