package main

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// atRate begins something so many times a second, however long each takes, and reaps meanwhile,
// for as long as is left until the next. It returns how long that went on.
func atRate(
	rate int, duration time.Duration, begin func(now time.Time), reap func(wait time.Duration),
) time.Duration {
	runtime.LockOSThread()
	// without this the kernel lets a timer be 50 µs late
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	interval := time.Second / time.Duration(rate)
	start := time.Now()
	for next := start; time.Since(start) < duration; {
		for now := time.Now(); !next.After(now); next = next.Add(interval) {
			begin(now)
		}
		reap(time.Until(next))
	}
	return time.Since(start)
}
