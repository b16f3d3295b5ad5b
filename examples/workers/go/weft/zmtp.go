// SPDX-License-Identifier: Apache-2.0

package weft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// As much of ZMTP 3 as a DEALER needs that talks to one ROUTER: mechanism NULL, whole messages of one part.

const (
	flagMore    = 1
	flagLong    = 2
	flagCommand = 4

	greetingBytes = 64
	frameMax      = 1 << 31
)

type dealer struct {
	conn net.Conn
	lock sync.Mutex // of writing: whoever logs may be another goroutine
}

func greeting() []byte {
	sent := make([]byte, greetingBytes)
	sent[0], sent[9] = 0xff, 0x7f // the signature
	sent[10] = 3                  // the version, 3.0
	copy(sent[12:], "NULL")
	return sent
}

func ready() []byte {
	body := []byte("\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00")
	return append([]byte{flagCommand, byte(len(body))}, body...)
}

// dial connects to a path, or to "@name" without a file, whose other side has so long to answer.
func dial(path string, patience time.Duration) (*dealer, error) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	made := &dealer{conn: conn}
	conn.SetDeadline(time.Now().Add(patience))
	if err = made.shakeHands(); err != nil {
		conn.Close()
		return nil, err
	}
	conn.SetDeadline(time.Time{})
	return made, nil
}

func (d *dealer) shakeHands() error {
	if _, err := d.conn.Write(greeting()); err != nil {
		return err
	}
	theirs := make([]byte, greetingBytes)
	if _, err := io.ReadFull(d.conn, theirs); err != nil {
		return err
	}
	if theirs[0] != 0xff || theirs[9]&1 == 0 || theirs[10] < 3 || !bytes.HasPrefix(theirs[12:], []byte("NULL\x00")) {
		return fmt.Errorf("whoever listens there does not speak ZMTP 3 with mechanism NULL")
	}
	if _, err := d.conn.Write(ready()); err != nil {
		return err
	}
	flags, body, err := d.part()
	if err == nil && (flags&flagCommand == 0 || !bytes.HasPrefix(body, []byte("\x05READY"))) {
		err = fmt.Errorf("expected READY, got %q", body)
	}
	return err
}

// part reads one command, or one part of a message.
func (d *dealer) part() (flags byte, body []byte, err error) {
	var head [9]byte
	if _, err = io.ReadFull(d.conn, head[:2]); err != nil {
		return
	}
	flags = head[0]
	size := uint64(head[1])
	if flags&flagLong != 0 {
		if _, err = io.ReadFull(d.conn, head[2:]); err != nil {
			return
		}
		size = binary.BigEndian.Uint64(head[1:])
	}
	if size > frameMax {
		return flags, nil, fmt.Errorf("a frame of %d bytes", size)
	}
	body = make([]byte, size)
	_, err = io.ReadFull(d.conn, body)
	return
}

// receive returns the next message of one part.
func (d *dealer) receive() ([]byte, error) {
	for {
		flags, body, err := d.part()
		if err != nil {
			return nil, err
		}
		if flags&flagMore != 0 {
			return nil, fmt.Errorf("a message of more than one part")
		}
		if flags&flagCommand == 0 {
			return body, nil
		}
	}
}

func (d *dealer) send(frame []byte) error {
	head := []byte{0, byte(len(frame))}
	if len(frame) > 255 {
		head = append([]byte{flagLong}, binary.BigEndian.AppendUint64(nil, uint64(len(frame)))...)
	}
	d.lock.Lock()
	defer d.lock.Unlock()
	_, err := (&net.Buffers{head, frame}).WriteTo(d.conn)
	return err
}
