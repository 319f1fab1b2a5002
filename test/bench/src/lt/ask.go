package main

import (
	"bytes"
	"encoding/binary"
	"flag"
	"log"
	"net"
	"sort"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	askFirstPort = 10000
	askPorts     = 50000
	askPatience  = time.Second
	askBuffer    = 64 << 20

	ipHeader  = 20
	tcpHeader = 20
	flagSyn   = 0x02
	flagRst   = 0x04
	flagAck   = 0x10
)

// ask sends bare SYNs at a fixed rate, past the TCP of this machine, and tells the time until each
// is answered, by a reset or a SYN-ACK: between the two the device was crossed twice, and nothing
// but the gateway has worked. Both moments are the kernel's, so that it does not matter when this
// program runs.
func ask(args []string) {
	flags := flag.NewFlagSet("ask", flag.ExitOnError)
	addr := flags.String("addr", "", "first target, ADDRESS:PORT")
	ips := flags.Int("ips", 1, "consecutive target addresses")
	rate := flags.Int("rate", 1000, "SYNs per second")
	duration := flags.Duration("d", 4*time.Second, "how long")
	flags.Parse(args)

	run := newAskRun(addressesOf(targets(*addr, *ips)))
	began := atRate(*rate, *duration, func(time.Time) { run.send() }, run.reap)
	for end := time.Now().Add(askPatience); len(run.open) > 0 && time.Now().Before(end); {
		run.reap(10 * time.Millisecond)
	}
	sort.Float64s(run.micros)
	answer(map[string]interface{}{
		"n": len(run.micros), "per_second": float64(run.sent) / began.Seconds(),
		"p50_us": percentile(run.micros, .5), "p99_us": percentile(run.micros, .99),
		"unanswered": len(run.open),
	})
}

type askRun struct {
	targets        []*unix.SockaddrInet4
	source         [4]byte
	out, in        int
	sent           int
	syn            [ipHeader + tcpHeader]byte
	packet, notice []byte
	// When the SYN passed, by port and target; zero before it has.
	open   map[uint64]time.Duration
	micros []float64
}

func newAskRun(targets []*unix.SockaddrInet4) *askRun {
	out, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		log.Fatal(err)
	}
	source, device := wayTo(targets[0])
	kind := unix.SOCK_DGRAM | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
	in, err := unix.Socket(unix.AF_PACKET, kind, int(networkOrder(unix.ETH_P_ALL)))
	if err != nil {
		log.Fatal(err)
	}
	unix.SetsockoptInt(in, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, askBuffer)
	unix.SetsockoptInt(in, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	link := &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: device}
	if err := unix.Bind(in, link); err != nil {
		log.Fatal(err)
	}
	return &askRun{
		targets: targets, source: source, out: out, in: in,
		packet: make([]byte, 256), notice: make([]byte, 256), open: map[uint64]time.Duration{},
	}
}

// wayTo is the address and the index of the device that the kernel would use.
func wayTo(target *unix.SockaddrInet4) ([4]byte, int) {
	conn, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: target.Addr[:], Port: 9})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	own := conn.LocalAddr().(*net.UDPAddr).IP.To4()
	links, _ := net.Interfaces()
	for _, link := range links {
		addresses, _ := link.Addrs()
		for _, address := range addresses {
			if prefix, isPrefix := address.(*net.IPNet); isPrefix && prefix.IP.Equal(own) {
				return [4]byte{own[0], own[1], own[2], own[3]}, link.Index
			}
		}
	}
	log.Fatalf("lt ask: no device has %v", own)
	return [4]byte{}, 0
}

func networkOrder(value uint16) uint16 { return value<<8 | value>>8 }

func (r *askRun) send() {
	target := r.targets[r.sent%len(r.targets)]
	port := uint16(askFirstPort + r.sent/len(r.targets)%askPorts)
	r.open[askKey(port, target.Addr[:])] = 0
	r.sent++
	ip, tcp := r.syn[:ipHeader], r.syn[ipHeader:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(ip[2:], uint16(len(r.syn)))
	copy(ip[12:], r.source[:])
	copy(ip[16:], target.Addr[:])
	binary.BigEndian.PutUint16(tcp, port)
	binary.BigEndian.PutUint16(tcp[2:], uint16(target.Port))
	binary.BigEndian.PutUint32(tcp[4:], uint32(r.sent))
	tcp[12], tcp[13] = tcpHeader/4<<4, flagSyn
	binary.BigEndian.PutUint16(tcp[14:], 0xffff)
	binary.BigEndian.PutUint16(tcp[16:], 0)
	binary.BigEndian.PutUint16(tcp[16:], tcpChecksum(ip, tcp))
	if err := unix.Sendto(r.out, r.syn[:], 0, target); err != nil {
		log.Fatal("lt ask: ", err)
	}
}

// RFC 9293 section 3.1, over the pseudo header and a segment of even length.
func tcpChecksum(ip, tcp []byte) uint16 {
	sum := uint32(unix.IPPROTO_TCP + len(tcp))
	for _, part := range [][]byte{ip[12:20], tcp} {
		for at := 0; at < len(part); at += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[at:]))
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

func askKey(port uint16, target []byte) uint64 {
	return uint64(port)<<32 | uint64(binary.BigEndian.Uint32(target))
}

// reap takes what has passed the device; it waits as long for the first.
func (r *askRun) reap(wait time.Duration) {
	if wait > 0 {
		timeout := unix.NsecToTimespec(wait.Nanoseconds())
		unix.Ppoll([]unix.PollFd{{Fd: int32(r.in), Events: unix.POLLIN}}, &timeout, nil)
	}
	for {
		n, noticeLength, _, _, err := unix.Recvmsg(r.in, r.packet, r.notice, 0)
		if err == unix.EAGAIN {
			return
		}
		if err != nil && err != unix.EINTR {
			log.Fatal(err)
		}
		if err == nil {
			r.take(r.packet[:n], passedAt(r.notice[:noticeLength]))
		}
	}
}

func passedAt(notice []byte) time.Duration {
	messages, err := unix.ParseSocketControlMessage(notice)
	if err != nil || len(messages) == 0 {
		log.Fatal("lt ask: a packet has no time: ", err)
	}
	at := (*unix.Timespec)(unsafe.Pointer(&messages[0].Data[0]))
	return time.Duration(at.Nano())
}

func (r *askRun) take(packet []byte, at time.Duration) {
	if len(packet) < ipHeader+tcpHeader || packet[0] != 0x45 || packet[9] != unix.IPPROTO_TCP {
		return
	}
	tcp := packet[ipHeader:]
	switch flags := tcp[13] & (flagSyn | flagRst | flagAck); {
	case flags == flagSyn:
		key := askKey(binary.BigEndian.Uint16(tcp), packet[16:20])
		if since, isOpen := r.open[key]; isOpen && since == 0 {
			r.open[key] = at
		}
	// The kernel's own resets of a SYN-ACK that it did not ask for go the other way.
	case bytes.Equal(packet[16:20], r.source[:]):
		key := askKey(binary.BigEndian.Uint16(tcp[2:]), packet[12:16])
		if since, isOpen := r.open[key]; isOpen && since != 0 {
			r.micros = append(r.micros, float64(at-since)/float64(time.Microsecond))
			delete(r.open, key)
		}
	}
}
