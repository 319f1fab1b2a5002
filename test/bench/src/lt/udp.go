package main

import (
	"encoding/binary"
	"flag"
	"log"
	"net"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	udpBatch       = 32
	udpBufferBytes = 8 << 20
	// what is on its way for longer is lost
	udpPatience = 150 * time.Millisecond
	// number of the run, so that what was given up on in one does not count in the next
	udpMarkBytes = 8
)

// Packets on their way at most, one run each. The largest fills the queue of a TUN nearly.
var udpWindows = []int{8, 16, 32, 64, 128, 256, 512, 900}

type mmsghdr struct {
	header unix.Msghdr
	length uint32
	_      [4]byte
}

// udp measures the datagrams per second that arrive when none may be lost. One thread holds the
// sockets of both ends, one in each namespace: it sends until a window is full, then receives, and
// what arrived makes room for the next. A window that lost nothing counts; the fastest is told. So
// each gateway is asked at the rate that it bears, and no receiver competes with it for a core.
func udp(args []string) {
	flags := flag.NewFlagSet("udp", flag.ExitOnError)
	addr := flags.String("addr", "", "ADDRESS:PORT of the server")
	namespace := flags.String("server-ns", "", "path of the server's network namespace")
	size := flags.Int("size", 64, "payload bytes")
	down := flags.Bool("down", false, "the server sends")
	duration := flags.Duration("d", 5*time.Second, "how long, all windows together")
	flags.Parse(args)

	runtime.LockOSThread()
	client, server := udpPair(*addr, *namespace)
	from, to := client, server
	if *down {
		from, to = server, client
	}
	path := newUDPPath(from, to, *size)
	best, bestWindow, arrived, lost := 0.0, 0, 0, 0
	for _, window := range udpWindows {
		rate, got, missing := path.run(window, *duration/time.Duration(len(udpWindows)))
		arrived += got
		lost += missing
		if missing == 0 && rate > best {
			best, bestWindow = rate, window
		}
	}
	answer(map[string]interface{}{
		"pps": best, "window": bestWindow, "n": arrived, "lost": lost,
	})
}

// udpPair makes connected sockets in both namespaces; a first datagram shows the way back.
func udpPair(addr, namespace string) (client, server int) {
	target, err := net.ResolveUDPAddr("udp4", addr)
	if err != nil {
		log.Fatal(err)
	}
	address := unix.SockaddrInet4{Port: target.Port}
	copy(address.Addr[:], target.IP.To4())
	client = udpSocket()
	inNamespace(namespace, func() { server = udpSocket() })
	must(unix.Bind(server, &address))
	must(unix.Connect(client, &address))
	first := make([]byte, udpMarkBytes)
	for tries := 0; ; tries++ {
		must(unix.Send(client, first, 0))
		_, source, err := unix.Recvfrom(server, first, 0)
		if err == nil {
			must(unix.Connect(server, source))
			return client, server
		}
		if tries == 20 {
			log.Fatal("lt: no datagram reaches the server")
		}
	}
}

func udpSocket() int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, udpBufferBytes))
	must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, udpBufferBytes))
	patience := unix.NsecToTimeval(udpPatience.Nanoseconds())
	must(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience))
	return fd
}

// inNamespace runs f with this thread in another network namespace.
func inNamespace(path string, f func()) {
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(err)
	away, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(err)
	must(unix.Setns(away, unix.CLONE_NEWNET))
	f()
	must(unix.Setns(home, unix.CLONE_NEWNET))
	unix.Close(home)
	unix.Close(away)
}

func must(err error) {
	if err != nil {
		log.Fatal("lt: ", err)
	}
}

// udpPath is one direction between two sockets.
type udpPath struct {
	from, to           int
	mark               uint64
	payload            []byte
	received           [][]byte
	outgoing, incoming []mmsghdr
}

func newUDPPath(from, to, size int) *udpPath {
	path := &udpPath{from: from, to: to, payload: make([]byte, size)}
	path.outgoing = make([]mmsghdr, udpBatch)
	path.incoming = make([]mmsghdr, udpBatch)
	for i := range path.outgoing {
		buffer := make([]byte, size)
		path.received = append(path.received, buffer)
		setBuffer(&path.outgoing[i], path.payload)
		setBuffer(&path.incoming[i], buffer)
	}
	return path
}

func setBuffer(message *mmsghdr, buffer []byte) {
	vector := &unix.Iovec{Base: &buffer[0]}
	vector.SetLen(len(buffer))
	message.header.Iov = vector
	message.header.SetIovlen(1)
}

// run keeps up to window datagrams on their way; it tells how many arrived, and how many did not.
func (p *udpPath) run(window int, duration time.Duration) (rate float64, arrived, lost int) {
	p.mark++
	binary.LittleEndian.PutUint64(p.payload, p.mark)
	flying := 0
	start := time.Now()
	last := start
	for {
		now := time.Now()
		isOver := now.Sub(start) >= duration
		if isOver && flying == 0 {
			break
		}
		for !isOver && flying < window {
			flying += p.send(window - flying)
		}
		got := p.receive()
		if got < 0 {
			lost = flying
			break
		}
		arrived += got
		flying -= got
		last = time.Now()
	}
	return float64(arrived) / last.Sub(start).Seconds(), arrived, lost
}

func (p *udpPath) send(most int) int {
	if most > udpBatch {
		most = udpBatch
	}
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(p.from),
		uintptr(unsafe.Pointer(&p.outgoing[0])), uintptr(most), 0, 0, 0)
	if errno != 0 {
		log.Fatal("lt: sendmmsg: ", errno)
	}
	return int(n)
}

// receive waits for the first datagram and takes what is there; -1 when nothing came in time.
func (p *udpPath) receive() int {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(p.to),
		uintptr(unsafe.Pointer(&p.incoming[0])), udpBatch, unix.MSG_WAITFORONE, 0, 0)
	switch errno {
	case 0:
	case unix.EAGAIN:
		return -1
	case unix.EINTR:
		return 0
	default:
		log.Fatal("lt: recvmmsg: ", errno)
	}
	fresh := 0
	for i := 0; i < int(n); i++ {
		if binary.LittleEndian.Uint64(p.received[i]) == p.mark {
			fresh++
		}
	}
	return fresh
}
