package main

import (
	"bufio"
	"flag"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	holdWorkers = 64
	holdTimeout = 5 * time.Second
	// more failures than this and the rest is not tried: a stalled gateway would cost minutes
	holdMaxFailures = 200
)

// holder keeps connections; each is proven by one echoed byte.
type holder struct {
	targets  []string
	conns    []net.Conn
	lock     sync.Mutex
	ok       int
	failures int
	last     string
}

func hold(args []string) {
	flags := flag.NewFlagSet("hold", flag.ExitOnError)
	addr := flags.String("addr", "", "first target, ADDRESS:PORT, an echo server")
	ips := flags.Int("ips", 1, "consecutive target addresses")
	n := flags.Int("n", 10000, "connections")
	flags.Parse(args)

	h := &holder{targets: targets(*addr, *ips), conns: make([]net.Conn, *n)}
	h.round("open")
	bufio.NewReader(os.Stdin).ReadString('\n')
	h.round("ping")
}

// round proves every connection, opening those that are not open yet, and answers.
func (h *holder) round(phase string) {
	h.ok, h.failures, h.last = 0, 0, ""
	start := time.Now()
	queue := make(chan int, len(h.conns))
	for i := range h.conns {
		queue <- i
	}
	close(queue)
	var group sync.WaitGroup
	for w := 0; w < holdWorkers; w++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := range queue {
				if !h.count(h.prove(i)) {
					return
				}
			}
		}()
	}
	group.Wait()
	answer(map[string]interface{}{
		"phase": phase, "ok": h.ok, "last_error": h.last, "sec": time.Since(start).Seconds(),
	})
}

// count notes one outcome and tells whether to go on.
func (h *holder) count(err error) bool {
	h.lock.Lock()
	defer h.lock.Unlock()
	if err == nil {
		h.ok++
	} else {
		h.failures++
		h.last = err.Error()
	}
	return h.failures <= holdMaxFailures
}

func (h *holder) prove(i int) error {
	if h.conns[i] == nil {
		conn, err := net.DialTimeout("tcp", h.targets[i%len(h.targets)], holdTimeout)
		if err != nil {
			return err
		}
		h.conns[i] = conn
	}
	conn := h.conns[i]
	conn.SetDeadline(time.Now().Add(holdTimeout))
	if _, err := conn.Write([]byte{'x'}); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}
