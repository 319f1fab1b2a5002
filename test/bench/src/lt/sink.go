package main

import (
	"flag"
	"log"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	sinkBacklog = 16384
	sinkPause   = 100 * time.Millisecond
)

// sink is a server that costs next to nothing: the kernel answers those who connect, and a few
// times a second they are accepted all together. Each is closed one round later, by when a client
// that resets has done so.
func sink(args []string) {
	flags := flag.NewFlagSet("sink", flag.ExitOnError)
	listen := flags.String("listen", ":7108", "TCP address")
	flags.Parse(args)

	address, err := net.ResolveTCPAddr("tcp4", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		log.Fatal(err)
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: address.Port}); err != nil {
		log.Fatal(err)
	}
	if err := unix.Listen(fd, sinkBacklog); err != nil {
		log.Fatal(err)
	}
	var before, accepted []int
	for {
		time.Sleep(sinkPause)
		for {
			conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
			if err != nil {
				break
			}
			accepted = append(accepted, conn)
		}
		for _, conn := range before {
			unix.Close(conn)
		}
		before, accepted = accepted, before[:0]
	}
}
