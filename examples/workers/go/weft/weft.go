// SPDX-License-Identifier: Apache-2.0

// Package weft is a worker process in Go, for consumers with engine = process. It needs nothing but the standard library.
//
//	func handle(record *weft.Record) error { // an error is a failure, with its text
//		fmt.Println(string(record.Key), string(record.Value))
//		return nil
//	}
//
//	func main() { weft.Run(handle) }
//
// One record at a time. Log reaches weft's log. SIGTERM ends the worker after what it has; a panic ends it at once, and weft
// charges the record that ran. The protocol is docs/worker-protocol.md.
package weft

import (
	"encoding/hex"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Levels of Log.
const (
	Error = iota
	Warn
	Info
	Debug
)

const (
	look             = time.Millisecond // between two looks at messages, and two reports
	silentHeartbeats = 5
	welcomeTime      = 30 * time.Second

	statusEnvironment = 1
	statusRefused     = 2
	statusGone        = 3
)

// What may wait to be looked at: far more than weft sends before it gets answers.
const framesWaiting = 1024

type worker struct {
	handler   func(*Record) error
	socket    *dealer
	frames    chan []byte // closed when weft is gone
	signals   chan os.Signal
	topics    map[uint32]string
	tasks     []*task // the first one runs
	progress  *uint64 // nil: not kept
	heartbeat time.Duration
	heard     time.Time
	looked    time.Time
	gone      bool
	goodbye   bool
	leaving   bool
}

var self *worker

func end(status int, format string, values ...any) {
	fmt.Fprintf(os.Stderr, "weft worker: "+format+"\n", values...)
	os.Exit(status)
}

func (w *worker) send(frame []byte) {
	if w.socket.send(frame) != nil {
		w.gone = true
	}
}

func (w *worker) report(now *task) {
	if frame := now.report(); frame != nil {
		w.send(frame)
	}
}

func (w *worker) onFrame(frame []byte) {
	head, err := open(frame)
	if err != nil {
		end(statusGone, "weft sent %v", err)
	}
	w.heard = time.Now()
	switch head.kind {
	case kindWork:
		made, err := newTask(head, frame)
		if err != nil {
			end(statusGone, "weft sent %v", err)
		}
		w.tasks = append(w.tasks, made)
	case kindPing:
		w.send(makeFrame(kindPong, 0, head.task))
	case kindTopic:
		w.topics[head.task] = string(frame[headerBytes:])
	case kindCancel:
		for _, one := range w.tasks {
			one.cancelled = one.cancelled || one.number == head.task
		}
	case kindBye:
		w.goodbye = true
	case kindRefused:
		end(statusRefused, "refused: %s", frame[headerBytes:])
	default:
		end(statusGone, "weft sent a frame of type %d, which has no place here", head.kind)
	}
}

// take looks at all that has come; it waits for the first frame so long.
func (w *worker) take(wait time.Duration) {
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case frame, ok := <-w.frames:
			w.onEvent(frame, ok)
		case <-w.signals:
			w.leave()
		case <-timer.C:
		}
	}
	for !w.gone {
		select {
		case frame, ok := <-w.frames:
			w.onEvent(frame, ok)
			continue
		case <-w.signals:
			w.leave()
			continue
		default:
		}
		break
	}
	w.looked = time.Now()
	w.gone = w.gone || w.looked.Sub(w.heard) > silentHeartbeats*w.heartbeat
}

// leave asks for the end; weft answers with its own BYE, when no more work is on its way.
func (w *worker) leave() {
	if !w.leaving {
		w.send(makeFrame(kindBye, 0, 0))
	}
	w.leaving = true
}

func (w *worker) onEvent(frame []byte, ok bool) {
	if ok {
		w.onFrame(frame)
	} else {
		w.gone = true
	}
}

func (w *worker) note(number uint32, index int) {
	if w.progress != nil {
		atomic.StoreUint64(w.progress, uint64(number)<<32|uint64(index))
	}
}

func (w *worker) runRecord(now *task, index int) bool {
	topic, known := w.topics[now.topic(index)]
	if !known {
		end(statusGone, "weft sent a record of topic %d, which it did not announce", now.topic(index))
	}
	w.note(now.number, index+1)
	if err := w.handler(now.record(index, topic)); err != nil {
		// Not err.Error(), which may panic, for one in a nil pointer for example.
		now.settle(failure, text(fmt.Sprint(err), reasonBytes))
		return false
	}
	now.settle(success, nil)
	return true
}

func (w *worker) runTask(now *task) {
	closed := int64(-1)
	for index := 0; index < now.count; index++ {
		lane := now.lane(index)
		if now.cancelled || w.gone || int64(lane) == closed {
			now.settle(unrun, nil)
		} else if !w.runRecord(now, index) && lane != anyOrder {
			closed = int64(lane)
		}
		if time.Since(w.looked) >= look {
			w.report(now)
			w.take(0)
		}
	}
	if w.progress != nil {
		atomic.StoreUint64(w.progress, 0)
	}
	w.report(now)
}

func (w *worker) serve() {
	for !w.gone && !(w.goodbye && len(w.tasks) == 0) {
		if len(w.tasks) > 0 {
			w.take(0)
			w.runTask(w.tasks[0])
			w.tasks = w.tasks[1:]
		} else {
			w.take(w.heartbeat)
		}
	}
	if w.gone {
		end(statusGone, "weft is gone")
	}
}

func (w *worker) listen() {
	for {
		frame, err := w.socket.receive()
		if err != nil {
			close(w.frames)
			return
		}
		w.frames <- frame
	}
}

func (w *worker) greet(token []byte) {
	flags := uint32(0)
	if w.progress != nil {
		flags = hasProgress
	}
	name := os.Getenv("WEFT_WORKER")
	if len(name) > nameBytes {
		name = name[:nameBytes]
	}
	w.send(makeHello(uint32(os.Getpid()), flags, token, name))
	var frame []byte
	select {
	case frame = <-w.frames:
	case <-time.After(welcomeTime):
	}
	if frame == nil {
		end(statusGone, "no welcome from %s", os.Getenv("WEFT_SOCKET"))
	}
	head, err := open(frame)
	if err != nil || head.kind != kindWelcome || len(frame) != headerBytes+8 {
		w.onFrame(frame)
		end(statusGone, "weft did not say welcome")
	}
	w.heartbeat = time.Duration(little.Uint32(frame[headerBytes+4:])) * time.Millisecond
	w.heard, w.looked = time.Now(), time.Now()
}

func (w *worker) mapProgress() {
	fd, err := strconv.Atoi(os.Getenv("WEFT_PROGRESS_FD"))
	if err != nil || fd < 0 {
		return
	}
	page, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err == nil {
		w.progress = (*uint64)(unsafe.Pointer(&page[0]))
	}
}

func readToken() []byte {
	digits := os.Getenv("WEFT_TOKEN")
	if digits == "" {
		data, err := os.ReadFile(os.Getenv("WEFT_TOKEN_FILE"))
		if err == nil && len(data) >= 2*tokenBytes {
			digits = string(data[:2*tokenBytes])
		}
	}
	token, err := hex.DecodeString(strings.TrimSpace(digits))
	if err != nil || len(token) != tokenBytes {
		end(statusEnvironment, "WEFT_TOKEN, or the file WEFT_TOKEN_FILE, must have 64 hexadecimal digits")
	}
	return token
}

// Run serves until weft says goodbye, and ends the process.
func Run(handler func(*Record) error) {
	path := os.Getenv("WEFT_SOCKET")
	if path == "" {
		end(statusEnvironment, "WEFT_SOCKET is not set: weft starts workers, or tells where to attach")
	}
	token := readToken()
	socket, err := dial(path, welcomeTime)
	if err != nil {
		end(statusGone, "no connection to %s: %v", path, err)
	}
	w := &worker{handler: handler, socket: socket, topics: map[uint32]string{}}
	w.frames, w.signals = make(chan []byte, framesWaiting), make(chan os.Signal, 1)
	w.mapProgress()
	go w.listen()
	w.greet(token)
	self = w
	signal.Notify(w.signals, syscall.SIGTERM)
	w.serve()
	socket.conn.Close()
	os.Exit(0)
}

// Log writes a line into weft's log. Of any goroutine.
func Log(level int, format string, values ...any) {
	if self != nil {
		self.socket.send(makeFrame(kindLog, uint32(level), 0, text(fmt.Sprintf(format, values...), lineBytes)))
	}
}

// Cancelled tells whether the handler should give up: its deadline has passed, or its partition has to go. To be called
// by the handler, in its goroutine.
func Cancelled() bool {
	if self == nil {
		return false
	}
	if time.Since(self.looked) >= look {
		self.take(0)
	}
	return self.gone || len(self.tasks) > 0 && self.tasks[0].cancelled
}
