// SPDX-License-Identifier: Apache-2.0

// The handler that weft-worker-check expects: what it does is in the topic's name (examples/worker_check/checks.h).
package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"weftworker/weft"
)

func data(found []byte) string {
	if found == nil {
		return "null"
	}
	sum := uint64(0)
	for _, one := range found {
		sum += uint64(one)
	}
	return fmt.Sprintf("%d:%d", len(found), sum)
}

func echo(record *weft.Record) string {
	var headers []string
	for _, header := range record.Headers() {
		headers = append(headers, header.Name+"="+data(header.Value))
	}
	return fmt.Sprintf("%s/%d/%d t=%d a=%d k=%s v=%s h=%s", record.Topic, record.Partition, record.Offset,
		record.TimestampMs, record.Attempt, data(record.Key), data(record.Value), strings.Join(headers, ","))
}

func wait() error {
	weft.Log(weft.Info, "waiting")
	for i := 0; i < 5000; i++ {
		if weft.Cancelled() {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return errors.New("nobody said that it should give up")
}

func handle(record *weft.Record) error {
	switch record.Topic {
	case "echo":
		return errors.New(echo(record))
	case "fail":
		return errors.New(string(record.Value))
	case "log":
		weft.Log(weft.Info, "%s", record.Value)
	case "sleep":
		ms, err := strconv.Atoi(string(record.Value))
		time.Sleep(time.Duration(ms) * time.Millisecond)
		return err
	case "cancel":
		return wait()
	}
	return nil
}

func main() { weft.Run(handle) }
