package main

import (
	"flag"
	"io"
	"net"
	"sort"
	"sync"
	"time"
)

const (
	pingBytes    = 64
	pingPause    = 2 * time.Millisecond
	pingPatience = 10 * time.Second
	// who was lost does not come back at once
	pingAbsence = 100 * time.Millisecond
)

// ping plays ping-pong with an echo over a few connections that stay open. A connection that is
// lost is counted, and another takes its place.
func ping(args []string) {
	flags := flag.NewFlagSet("ping", flag.ExitOnError)
	addr := flags.String("addr", "", "ADDRESS:PORT of an echo")
	conns := flags.Int("c", 4, "connections")
	duration := flags.Duration("d", 4*time.Second, "how long")
	flags.Parse(args)

	end := time.Now().Add(*duration)
	var lock sync.Mutex
	var all tally
	var group sync.WaitGroup
	for i := 0; i < *conns; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			var mine tally
			for time.Now().Before(end) {
				if err := pingUntil(*addr, end, &mine); err != nil {
					mine.errors++
					mine.lastError = err.Error()
					time.Sleep(pingAbsence)
				}
			}
			lock.Lock()
			defer lock.Unlock()
			all.add(mine)
		}()
	}
	group.Wait()
	sort.Float64s(all.latencies)
	answer(map[string]interface{}{
		"n": len(all.latencies), "lost": all.errors, "last_error": all.lastError,
		"p50_us": percentile(all.latencies, .5), "p99_us": percentile(all.latencies, .99),
		"max_us": percentile(all.latencies, 1),
	})
}

// pingUntil goes on until the end, or until the connection is lost.
func pingUntil(addr string, end time.Time, told *tally) error {
	conn, err := net.DialTimeout("tcp", addr, exchangeTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	buffer := make([]byte, pingBytes)
	for time.Now().Before(end) {
		start := time.Now()
		conn.SetDeadline(start.Add(pingPatience))
		if _, err := conn.Write(buffer); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, buffer); err != nil {
			return err
		}
		told.latencies = append(told.latencies, float64(time.Since(start).Microseconds()))
		time.Sleep(pingPause)
	}
	return nil
}
