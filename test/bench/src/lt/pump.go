package main

import (
	"flag"
	"log"
	"net"
	"time"
)

const pumpBytes = 64 << 10

// pump writes to an echo as fast as it takes, and counts what comes back.
func pump(args []string) {
	flags := flag.NewFlagSet("pump", flag.ExitOnError)
	addr := flags.String("addr", "", "ADDRESS:PORT of an echo")
	duration := flags.Duration("d", 4*time.Second, "how long")
	flags.Parse(args)

	conn, err := net.DialTimeout("tcp", *addr, exchangeTimeout)
	if err != nil {
		log.Fatal(err)
	}
	start := time.Now()
	conn.SetDeadline(start.Add(*duration))
	go func() {
		buffer := make([]byte, pumpBytes)
		for {
			if _, err := conn.Write(buffer); err != nil {
				return
			}
		}
	}()
	var n int64
	buffer := make([]byte, pumpBytes)
	for {
		length, failure := conn.Read(buffer)
		n += int64(length)
		if err = failure; err != nil {
			break
		}
	}
	seconds := time.Since(start).Seconds()
	last := ""
	if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() {
		last = "the echo ended early"
	}
	answer(map[string]interface{}{"bytes": n, "sec": seconds, "last_error": last})
}
