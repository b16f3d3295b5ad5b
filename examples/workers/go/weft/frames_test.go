// SPDX-License-Identifier: Apache-2.0

package weft

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type goldenFrame struct {
	Name  string
	Hex   string
	Task  *uint32
	Level *uint32
	Text  *string
	Hello *struct {
		Pid, Flags  uint32
		Token, Name string
	}
	Records []struct {
		Offset      int64
		TimestampMs int64 `json:"timestamp_ms"`
		Topic       uint32
		Partition   int32
		Key, Value  *string
		Headers     [][2]*string
		Attempt     int
		Lane        uint32
	}
	Entries []struct {
		Status byte
		Reason string
	}
}

func (f goldenFrame) bytes() []byte {
	found, _ := hex.DecodeString(f.Hex)
	return found
}

func golden(t *testing.T) (frames, refused map[string]goldenFrame) {
	var file struct {
		Frames, Refused  []goldenFrame
		RefusedByWorkers []goldenFrame `json:"refused_by_workers"`
	}
	data, err := os.ReadFile("../../../../tests/golden/worker_frames.json")
	if err == nil {
		err = json.Unmarshal(data, &file)
	}
	if err != nil || len(file.Frames) != kindLog {
		t.Fatalf("%d frames, %v", len(file.Frames), err)
	}
	frames, refused = map[string]goldenFrame{}, map[string]goldenFrame{}
	for i, frame := range file.Frames {
		frames[frame.Name] = frame
		if frame.bytes()[5] != byte(i+1) {
			t.Fatalf("%s is not the frame of type %d", frame.Name, i+1)
		}
	}
	for _, frame := range append(file.Refused, file.RefusedByWorkers...) {
		refused[frame.Name] = frame
	}
	return
}

func work(t *testing.T) *task {
	frames, _ := golden(t)
	frame := frames["work"].bytes()
	head, err := open(frame)
	if err != nil {
		t.Fatal(err)
	}
	made, err := newTask(head, frame)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func same(t *testing.T, name string, written []byte, wanted goldenFrame) {
	if !bytes.Equal(written, wanted.bytes()) {
		t.Errorf("%s: %x, not %s", name, written, wanted.Hex)
	}
}

func TestFramesAreWrittenAsTheyStand(t *testing.T) {
	frames, _ := golden(t)
	hello := frames["hello"].Hello
	token, _ := hex.DecodeString(hello.Token)
	same(t, "hello", makeHello(hello.Pid, hello.Flags, token, hello.Name), frames["hello"])
	same(t, "pong", makeFrame(kindPong, 0, 12), frames["pong"])
	same(t, "bye", makeFrame(kindBye, 0, 0), frames["bye"])
	same(t, "log", makeFrame(kindLog, 1, 0, []byte("almost full")), frames["log"])
}

func TestEveryFrameIsOpened(t *testing.T) {
	frames, _ := golden(t)
	for name, frame := range frames {
		head, err := open(frame.bytes())
		if err != nil || frame.Task != nil && head.task != *frame.Task || frame.Level != nil && head.count != *frame.Level ||
			frame.Text != nil && string(frame.bytes()[headerBytes:]) != *frame.Text {
			t.Errorf("%s: %+v, %v", name, head, err)
		}
	}
}

func TestHeadersThatBreakARuleAreRefused(t *testing.T) {
	_, refused := golden(t)
	for _, name := range []string{"short", "other_magic", "other_version", "type_0", "type_12", "zero_not_zero"} {
		if _, err := open(refused[name].bytes()); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestWorkThatBreaksARuleIsRefused(t *testing.T) {
	_, refused := golden(t)
	count := 0
	for name, frame := range refused {
		head, err := open(frame.bytes())
		if err != nil || head.kind != kindWork {
			continue
		}
		count++
		if _, err = newTask(head, frame.bytes()); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if count < 7 {
		t.Errorf("%d frames", count)
	}
}

func isData(found []byte, wanted *string) bool {
	if wanted == nil {
		return found == nil
	}
	return found != nil && hex.EncodeToString(found) == *wanted
}

func TestWorkIsReadAsRecords(t *testing.T) {
	frames, _ := golden(t)
	now := work(t)
	for i, wanted := range frames["work"].Records {
		record := now.record(i, "t")
		if record.Offset != wanted.Offset || record.TimestampMs != wanted.TimestampMs ||
			record.Partition != wanted.Partition || record.Attempt != wanted.Attempt || now.topic(i) != wanted.Topic ||
			now.lane(i) != wanted.Lane || !isData(record.Key, wanted.Key) || !isData(record.Value, wanted.Value) {
			t.Errorf("record %d: %+v", i, record)
		}
		headers := record.Headers()
		if len(headers) != len(wanted.Headers) {
			t.Fatalf("record %d: %d headers", i, len(headers))
		}
		for k, header := range headers {
			if header.Name != *wanted.Headers[k][0] || !isData(header.Value, wanted.Headers[k][1]) {
				t.Errorf("record %d, header %d: %+v", i, k, header)
			}
		}
	}
}

func TestWorkThatIsCutIsRefused(t *testing.T) {
	frames, _ := golden(t)
	whole := frames["work"].bytes()
	head, _ := open(whole)
	for size := headerBytes; size < len(whole); size++ {
		if _, err := newTask(head, whole[:size:size]); err == nil {
			t.Errorf("cut to %d bytes, it was taken", size)
		}
	}
}

func TestDoneIsWrittenAsItStands(t *testing.T) {
	frames, _ := golden(t)
	now := work(t)
	for _, entry := range frames["done"].Entries {
		now.settle(entry.Status, []byte(entry.Reason))
	}
	same(t, "done", now.report(), frames["done"])
}

func TestTextIsCutBetweenCharacters(t *testing.T) {
	if found := string(text(strings.Repeat("\u00e4", 300), reasonBytes)); found != strings.Repeat("\u00e4", 127) {
		t.Error(found)
	}
	if found := string(text("\xff", reasonBytes)); found != `"\xff"` {
		t.Error(found)
	}
}

// Whoever listens there and says nothing is not waited for without end.
func TestDialGivesUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	silent, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := dial(path, 20*time.Millisecond)
		ended <- err
	}()
	select {
	case err = <-ended:
		if err == nil {
			t.Error("it connected")
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits without end")
	}
}

// A handler can be tested without weft, as in the other languages.
func TestOutsideOfAWorkerNothingIsCancelled(t *testing.T) {
	if Cancelled() {
		t.Error("it is")
	}
}

type inPointer struct{ text string }

func (e *inPointer) Error() string { return e.text }

func TestErrorWithoutATextIsAFailure(t *testing.T) {
	w := &worker{handler: func(*Record) error { return (*inPointer)(nil) }, topics: map[uint32]string{3: "t", 4: "t"}}
	if w.runRecord(work(t), 0) {
		t.Fatal("a success")
	}
}
