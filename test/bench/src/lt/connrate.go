package main

import (
	"bytes"
	"flag"
	"net"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const exchangeTimeout = 3 * time.Second

var request = []byte("GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")

// tally collects what one worker saw, and at the end what all of them saw.
type tally struct {
	latencies []float64
	errors    int
	lastError string
}

func (t *tally) add(other tally) {
	t.latencies = append(t.latencies, other.latencies...)
	t.errors += other.errors
	if other.lastError != "" {
		t.lastError = other.lastError
	}
}

func connrate(args []string) {
	flags := flag.NewFlagSet("connrate", flag.ExitOnError)
	addr := flags.String("addr", "", "first target, ADDRESS:PORT")
	ips := flags.Int("ips", 1, "consecutive target addresses")
	workers := flags.Int("c", 32, "connections at a time")
	duration := flags.Duration("d", 5*time.Second, "how long")
	flags.Parse(args)

	list := targets(*addr, *ips)
	end := time.Now().Add(*duration)
	var next int64
	var lock sync.Mutex
	var all tally
	var group sync.WaitGroup
	for i := 0; i < *workers; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			var mine tally
			buffer := make([]byte, 4096)
			for time.Now().Before(end) {
				target := list[int(atomic.AddInt64(&next, 1))%len(list)]
				start := time.Now()
				if err := exchange(target, buffer); err != nil {
					mine.errors++
					mine.lastError = err.Error()
					continue
				}
				mine.latencies = append(mine.latencies, float64(time.Since(start).Microseconds()))
			}
			lock.Lock()
			defer lock.Unlock()
			all.add(mine)
		}()
	}
	group.Wait()
	sort.Float64s(all.latencies)
	answer(map[string]interface{}{
		"n": len(all.latencies), "errors": all.errors, "last_error": all.lastError,
		"p50_us": percentile(all.latencies, .5), "p99_us": percentile(all.latencies, .99),
	})
}

// exchange opens a connection, asks, reads the whole reply and closes.
func exchange(target string, buffer []byte) error {
	conn, err := net.DialTimeout("tcp", target, exchangeTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(exchangeTimeout))
	if _, err := conn.Write(request); err != nil {
		return err
	}
	for length := 0; !isComplete(buffer[:length]); {
		n, err := conn.Read(buffer[length:])
		length += n
		if err != nil && !isComplete(buffer[:length]) {
			return err
		}
	}
	return nil
}

// isComplete tells by Content-Length that the reply is whole: a gateway that does not pass a
// half-close on would otherwise hang us.
func isComplete(reply []byte) bool {
	head := bytes.Index(reply, []byte("\r\n\r\n"))
	field := bytes.Index(reply, []byte("Content-Length: "))
	if head < 0 || field < 0 {
		return false
	}
	value := reply[field+len("Content-Length: "):]
	length, err := strconv.Atoi(string(value[:bytes.IndexByte(value, '\r')]))
	return err == nil && len(reply) >= head+4+length
}

// percentile of sorted values; -1 when there are none.
func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return -1
	}
	return sorted[int(float64(len(sorted)-1)*p)]
}
