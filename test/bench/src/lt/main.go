// lt is the load tool of the bench: one static binary.
//
//	lt connrate -addr A:P -ips N -c C -d 5s   new connection + one HTTP request + close, per second
//	lt hold     -addr A:P -ips N -n 9500      opens n connections, keeps them until a line on stdin
//	lt echo     -listen :7000                 TCP echo server
//	lt sink     -listen :7108                 TCP server that takes connections and closes them
//	lt udp      -addr A:P -server-ns PATH     datagrams per second without loss, one direction
//	lt syn      -addr A:P -ips N -rate R      time from SYN to SYN-ACK at a fixed rate
//	lt ask      -addr A:P -ips N -rate R      time from a bare SYN to its answer at a fixed rate
//	lt pump     -addr A:P -d 4s               bytes that an echo gives back
//	lt ping     -addr A:P -c C -d 4s          round trips over connections that stay open
//
// Every answer is one line of JSON on standard output. Times are in microseconds unless named.
package main

import (
	"encoding/json"
	"log"
	"net"
	"os"
	"syscall"
)

func main() {
	raiseFileLimit()
	if len(os.Args) < 2 {
		log.Fatal("usage: lt connrate|hold|echo|sink|udp|syn|ask|pump|ping [flags]")
	}
	switch command, flags := os.Args[1], os.Args[2:]; command {
	case "connrate":
		connrate(flags)
	case "hold":
		hold(flags)
	case "echo":
		echo(flags)
	case "sink":
		sink(flags)
	case "udp":
		udp(flags)
	case "syn":
		syn(flags)
	case "ask":
		ask(flags)
	case "pump":
		pump(flags)
	case "ping":
		ping(flags)
	default:
		log.Fatalf("lt: unknown command %q", command)
	}
}

func raiseFileLimit() {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		log.Fatal(err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		log.Fatal(err)
	}
}

// targets spreads the load over n consecutive addresses, so that ephemeral ports do not run out.
func targets(addr string, n int) []string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		log.Fatal(err)
	}
	ip := net.ParseIP(host).To4()
	if ip == nil {
		log.Fatalf("lt: %s is not an IPv4 address", host)
	}
	list := make([]string, n)
	for i := range list {
		list[i] = net.JoinHostPort(net.IPv4(ip[0], ip[1], ip[2], ip[3]+byte(i)).String(), port)
	}
	return list
}

// answer prints one line of JSON.
func answer(fields map[string]interface{}) {
	if err := json.NewEncoder(os.Stdout).Encode(fields); err != nil {
		log.Fatal(err)
	}
}
