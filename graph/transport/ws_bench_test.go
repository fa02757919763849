package transport_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/enrichd/enrichd/graph"
)

// rawClient is a socket that costs its process next to nothing, so that what is measured is the server's.
type rawClient struct {
	net.Conn
	in *bufio.Reader
}

func rawDial(b *testing.B, url string) *rawClient {
	b.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	c := &rawClient{conn, bufio.NewReaderSize(conn, 64)}
	if _, err := conn.Write([]byte(handshake)); err != nil {
		b.Fatal(err)
	}
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			b.Fatal(err)
		}
		if line == "\r\n" {
			break
		}
	}
	c.say(b, `{"type":"connection_init","payload":{"Authorization":"Bearer key-1"}}`)
	c.hear(b)
	return c
}

func (c *rawClient) say(b *testing.B, text string) {
	b.Helper()
	frame := []byte{0x81, 0x80 | 126}
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(text)))
	frame = append(frame, 0, 0, 0, 0) // a mask of zeros
	if _, err := c.Write(append(frame, text...)); err != nil {
		b.Fatal(err)
	}
}

func (c *rawClient) hear(b *testing.B) string {
	b.Helper()
	var head [10]byte
	if _, err := io.ReadFull(c.in, head[:2]); err != nil {
		b.Fatal(err)
	}
	n := int(head[1])
	switch n {
	case 126:
		_, _ = io.ReadFull(c.in, head[:2])
		n = int(binary.BigEndian.Uint16(head[:2]))
	case 127:
		_, _ = io.ReadFull(c.in, head[:8])
		n = int(binary.BigEndian.Uint64(head[:8]))
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.in, body); err != nil {
		b.Fatal(err)
	}
	return string(body)
}

func (c *rawClient) subscribe(b *testing.B, id, query string) {
	b.Helper()
	text, _ := json.Marshal(map[string]any{"id": id, "type": "subscribe", "payload": map[string]any{"query": query}})
	c.say(b, string(text))
}

// inUse is what the process holds in heap and stacks, after the collector has run.
func inUse() uint64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// BenchmarkIdle reports what an idle socket, and an idle subscription, hold in
// heap and stacks: client's share included, and a resolver that waits.
func BenchmarkIdle(b *testing.B) {
	for _, c := range []struct{ sockets, each int }{{2000, 0}, {2000, 1}, {200, 10}} {
		b.Run(fmt.Sprintf("%dx%d", c.sockets, c.each), func(b *testing.B) {
			for b.Loop() {
				_, url := serve(b, func(o *graph.Options) { o.Sockets.MaxPerCompany = 1 << 20 })
				before := inUse()
				all := make([]*rawClient, c.sockets)
				for i := range all {
					all[i] = rawDial(b, url)
					for j := range c.each {
						all[i].subscribe(b, fmt.Sprint(j), "subscription{silent{sequence payload}}")
					}
					all[i].say(b, `{"type":"ping"}`)
					all[i].hear(b)
				}
				held := inUse() - before
				b.ReportMetric(float64(held)/float64(c.sockets), "B/socket")
				if c.each > 0 {
					b.ReportMetric(float64(held)/float64(c.sockets*c.each), "B/subscription")
				}
				for _, c := range all {
					c.Close()
				}
			}
		})
	}
}

// BenchmarkFanout reports how many events a second reach their clients, which
// run in the same process, when every socket follows a subscription of its own.
func BenchmarkFanout(b *testing.B) {
	for _, sockets := range []int{1, 50, 500} {
		b.Run(fmt.Sprint(sockets), func(b *testing.B) {
			_, url := serve(b)
			each := b.N/sockets + 1
			all := make([]*rawClient, sockets)
			for i := range all {
				all[i] = rawDial(b, url)
				all[i].in = bufio.NewReaderSize(all[i], 16<<10)
				defer all[i].Close()
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			for _, c := range all {
				wg.Go(func() {
					c.subscribe(b, "s", fmt.Sprintf("subscription{count(to:%d){sequence payload}}", each))
					for !strings.Contains(c.hear(b), `"complete"`) {
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(each*sockets)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
