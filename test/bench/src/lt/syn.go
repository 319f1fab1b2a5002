package main

import (
	"flag"
	"log"
	"net"
	"sort"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// more on their way at once, and the gateway does not bear the rate
	synInFlight = 4096
	synPatience = 5 * time.Second
	synEvents   = 256
)

type dialing struct {
	fd    int
	since time.Time
}

// syn opens connections at a fixed rate, however long each takes, and resets each as soon as it is
// open. What it tells is the time from SYN to SYN-ACK as the kernel has measured it (TCP_INFO), so
// that it does not matter when this program is told. A connection whose SYN was sent again has no
// such time and is counted.
func syn(args []string) {
	flags := flag.NewFlagSet("syn", flag.ExitOnError)
	addr := flags.String("addr", "", "first target, ADDRESS:PORT")
	ips := flags.Int("ips", 1, "consecutive target addresses")
	rate := flags.Int("rate", 1000, "new connections per second")
	duration := flags.Duration("d", 4*time.Second, "how long")
	flags.Parse(args)

	run := newSynRun(addressesOf(targets(*addr, *ips)))
	began := atRate(*rate, *duration, run.begin, run.reap)
	for end := time.Now().Add(synPatience); len(run.open) > 0 && time.Now().Before(end); {
		run.reap(10 * time.Millisecond)
	}
	sort.Float64s(run.micros)
	answer(map[string]interface{}{
		"n": len(run.micros), "per_second": float64(run.begun) / began.Seconds(),
		"p50_us": percentile(run.micros, .5), "p99_us": percentile(run.micros, .99),
		"retransmitted": run.retransmitted, "refused": run.refused,
		"skipped": run.skipped, "unanswered": len(run.open),
	})
}

type synRun struct {
	targets                                []*unix.SockaddrInet4
	epoll                                  int
	events                                 []unix.EpollEvent
	open                                   map[int]dialing
	micros                                 []float64
	begun, retransmitted, refused, skipped int
}

func newSynRun(targets []*unix.SockaddrInet4) *synRun {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		log.Fatal(err)
	}
	return &synRun{
		targets: targets, epoll: epoll,
		events: make([]unix.EpollEvent, synEvents), open: map[int]dialing{},
	}
}

func addressesOf(list []string) []*unix.SockaddrInet4 {
	all := make([]*unix.SockaddrInet4, len(list))
	for i, target := range list {
		host, port, _ := net.SplitHostPort(target)
		number, err := strconv.Atoi(port)
		if err != nil {
			log.Fatal(err)
		}
		all[i] = &unix.SockaddrInet4{Port: number}
		copy(all[i].Addr[:], net.ParseIP(host).To4())
	}
	return all
}

func (r *synRun) begin(now time.Time) {
	if len(r.open) >= synInFlight {
		r.skipped++
		return
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		log.Fatal(err)
	}
	unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	err = unix.Connect(fd, r.targets[r.begun%len(r.targets)])
	if err != nil && err != unix.EINPROGRESS {
		log.Fatal("lt syn: ", err)
	}
	r.begun++
	event := unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(fd)}
	if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		log.Fatal(err)
	}
	r.open[fd] = dialing{fd, now}
}

// reap takes what has been answered; it waits as long for the first.
func (r *synRun) reap(wait time.Duration) {
	if wait > 0 {
		timeout := unix.NsecToTimespec(wait.Nanoseconds())
		unix.Ppoll([]unix.PollFd{{Fd: int32(r.epoll), Events: unix.POLLIN}}, &timeout, nil)
	}
	n, err := unix.EpollWait(r.epoll, r.events, 0)
	if err != nil && err != unix.EINTR {
		log.Fatal(err)
	}
	for i := 0; i < n; i++ {
		r.end(int(r.events[i].Fd))
	}
}

func (r *synRun) end(fd int) {
	delete(r.open, fd)
	defer unix.Close(fd)
	if code, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); code != 0 {
		r.refused++
		return
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		log.Fatal(err)
	}
	if info.Total_retrans > 0 {
		r.retransmitted++
		return
	}
	r.micros = append(r.micros, float64(info.Rtt))
}
