// SPDX-License-Identifier: Apache-2.0

package weft

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

const (
	magic   = 0x31544657
	version = 1

	kindHello = iota - 1
	kindWelcome
	kindRefused
	kindTopic
	kindWork
	kindDone
	kindCancel
	kindPing
	kindPong
	kindBye
	kindLog

	success = 0
	failure = 1
	unrun   = 2

	headerBytes = 16
	recordBytes = 48
	doneBytes   = 16
	tokenBytes  = 32
	reasonBytes = 255
	lineBytes   = 4096
	nameBytes   = 64

	anyOrder    = 0xffffffff
	hasProgress = 1
)

var little = binary.LittleEndian

// Header is a name and a value; nil: it has none.
type Header struct {
	Name  string
	Value []byte
}

// Record is a record of Kafka. Key and Value are nil for null; they are valid until the handler returns.
type Record struct {
	Topic       string
	Partition   int32
	Offset      int64
	TimestampMs int64 // since 1970; -1: it has none
	Attempt     int   // 1 for the first try
	Key         []byte
	Value       []byte

	headers     []byte
	headerCount int
}

// Headers in the order in which they were produced; names may repeat.
func (r *Record) Headers() []Header {
	found := make([]Header, 0, r.headerCount)
	at := r.headers
	for i := 0; i < r.headerCount; i++ {
		size, valueSize := little.Uint32(at), int32(little.Uint32(at[4:]))
		header := Header{Name: string(at[8 : 8+size])}
		at = at[8+size+1:]
		header.Value, at = part(at, valueSize)
		found = append(found, header)
	}
	return found
}

// part splits a value off; nil when it is null.
func part(from []byte, size int32) (value, rest []byte) {
	if size < 0 {
		return nil, from
	}
	return from[:size:size], from[size:]
}

func text(s string, limit int) []byte {
	data := []byte(s)
	if !utf8.Valid(data) {
		data = []byte(fmt.Sprintf("%q", s))
	}
	if len(data) > limit {
		for limit > 0 && !utf8.RuneStart(data[limit]) {
			limit--
		}
		data = data[:limit]
	}
	return data
}

type header struct {
	kind  byte
	count uint32
	task  uint32
}

func open(frame []byte) (header, error) {
	if len(frame) < headerBytes {
		return header{}, fmt.Errorf("a frame shorter than a header")
	}
	found := header{kind: frame[5], count: little.Uint32(frame[8:]), task: little.Uint32(frame[12:])}
	if little.Uint32(frame) != magic || frame[4] != version || frame[6] != 0 || frame[7] != 0 ||
		found.kind < kindHello || found.kind > kindLog {
		return found, fmt.Errorf("a frame of version %d and type %d, or not of weft at all", frame[4], found.kind)
	}
	return found, nil
}

func makeFrame(kind byte, count, task uint32, body ...[]byte) []byte {
	frame := make([]byte, headerBytes, headerBytes+64)
	little.PutUint32(frame, magic)
	frame[4], frame[5] = version, kind
	little.PutUint32(frame[8:], count)
	little.PutUint32(frame[12:], task)
	for _, more := range body {
		frame = append(frame, more...)
	}
	return frame
}

func makeHello(pid, flags uint32, token []byte, name string) []byte {
	body := make([]byte, 16, 16+tokenBytes)
	little.PutUint16(body, version)
	little.PutUint16(body[2:], version)
	little.PutUint32(body[4:], pid)
	little.PutUint32(body[8:], flags)
	little.PutUint32(body[12:], uint32(len(name)))
	return makeFrame(kindHello, 0, 0, body, token, []byte(name))
}

// A WORK, and what became of its records so far.
type task struct {
	number    uint32
	count     int
	frame     []byte
	cancelled bool
	settled   int
	entries   []byte // of the next DONE
	reasons   []byte
}

func newTask(head header, frame []byte) (*task, error) {
	made := &task{number: head.task, count: int(head.count), frame: frame}
	if made.count == 0 || made.end() > len(frame) {
		return nil, fmt.Errorf("a WORK that is shorter than its entries")
	}
	used := int64(made.end())
	for i := 0; i < made.count; i++ {
		entry := made.entry(i)
		if int64(made.end())+int64(little.Uint32(entry[40:])) != used {
			return nil, fmt.Errorf("a WORK whose records are not in a row")
		}
		for _, size := range []int32{int32(little.Uint32(entry[24:])), int32(little.Uint32(entry[28:]))} {
			if size > 0 {
				used += int64(size)
			}
		}
		used += int64(little.Uint32(entry[32:]))
	}
	if used != int64(len(frame)) {
		return nil, fmt.Errorf("a WORK whose records don't fill it")
	}
	return made, nil
}

func (t *task) end() int { return headerBytes + t.count*recordBytes }

func (t *task) entry(index int) []byte { return t.frame[headerBytes+index*recordBytes:][:recordBytes] }

func (t *task) topic(index int) uint32 { return little.Uint32(t.entry(index)[16:]) }

func (t *task) lane(index int) uint32 { return little.Uint32(t.entry(index)[44:]) }

func (t *task) record(index int, topic string) *Record {
	entry := t.entry(index)
	rest := t.frame[t.end()+int(little.Uint32(entry[40:])):]
	made := &Record{
		Topic:       topic,
		Partition:   int32(little.Uint32(entry[20:])),
		Offset:      int64(little.Uint64(entry)),
		TimestampMs: int64(little.Uint64(entry[8:])),
		Attempt:     int(little.Uint16(entry[38:])),
		headerCount: int(little.Uint16(entry[36:])),
	}
	made.Key, rest = part(rest, int32(little.Uint32(entry[24:])))
	made.Value, rest = part(rest, int32(little.Uint32(entry[28:])))
	made.headers = rest[:little.Uint32(entry[32:])]
	return made
}

// settle says what became of the next record.
func (t *task) settle(status byte, reason []byte) {
	var done [doneBytes]byte
	copy(done[:], t.entry(t.settled)[:8])
	done[8] = status
	little.PutUint32(done[12:], uint32(len(reason)))
	t.entries = append(t.entries, done[:]...)
	t.reasons = append(t.reasons, reason...)
	t.settled++
}

// report returns DONE for what was settled since the last one, or nil.
func (t *task) report() []byte {
	if len(t.entries) == 0 {
		return nil
	}
	frame := makeFrame(kindDone, uint32(len(t.entries)/doneBytes), t.number, t.entries, t.reasons)
	t.entries, t.reasons = t.entries[:0], t.reasons[:0]
	return frame
}
