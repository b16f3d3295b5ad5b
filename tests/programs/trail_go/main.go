// SPDX-License-Identifier: Apache-2.0

// tests/programs/trail_worker.c in Go: the same entries, the same deaths.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"weftworker/weft"
)

const (
	begin  = 1
	done   = 2
	failed = 3
)

var trail *os.File
var work time.Duration

func note(kind uint32, record *weft.Record, key uint64) {
	var entry [32]byte // trail_entry
	little := binary.LittleEndian
	little.PutUint32(entry[0:], kind)
	little.PutUint32(entry[4:], uint32(os.Getpid()))
	little.PutUint64(entry[8:], uint64(record.Offset))
	little.PutUint64(entry[16:], key)
	little.PutUint32(entry[24:], uint32(record.Partition))
	little.PutUint32(entry[28:], uint32(record.Attempt))
	trail.Write(entry[:])
}

func suffer(what string) {
	raise := func(number syscall.Signal) { syscall.Kill(os.Getpid(), number) }
	switch what {
	case "fail":
		return
	case "kill":
		raise(syscall.SIGKILL)
	case "stop":
		raise(syscall.SIGSTOP)
	case "abort":
		signal.Reset(syscall.SIGABRT)
		raise(syscall.SIGABRT)
	case "segv":
		os.Stderr.WriteString("about to fall\n")
		raise(syscall.SIGSEGV)
	case "exit":
		os.Exit(0)
	}
	select {} // the signal, or for ever
}

func handle(record *weft.Record) error {
	var key uint64
	if len(record.Key) > 1 {
		key, _ = strconv.ParseUint(string(record.Key[1:]), 10, 64)
		key += uint64(record.Key[0]) * 1000
	}
	note(begin, record, key)
	var what string
	var attempts int
	value := record.Value
	if len(value) > 31 {
		value = value[:31]
	}
	count, _ := fmt.Sscanf(string(value), "%s %d", &what, &attempts)
	applies := count == 2 && record.Attempt <= attempts
	if applies {
		suffer(what)
	}
	if work > 0 {
		time.Sleep(work)
	}
	if applies {
		note(failed, record, key)
		return fmt.Errorf("told to fail %d times", attempts)
	}
	note(done, record, key)
	return nil
}

func main() {
	var err error
	if trail, err = os.OpenFile(os.Getenv("TRAIL"), os.O_WRONLY|os.O_APPEND, 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(64)
	}
	us, _ := strconv.Atoi(os.Getenv("TRAIL_US"))
	work = time.Duration(us) * time.Microsecond
	weft.Run(handle)
}
