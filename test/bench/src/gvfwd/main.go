// gvfwd is the smallest gVisor netstack forwarder that does what tun2socks and sing-box do: a
// promiscuous, spoofing NIC on a TUN device, tcp.Forwarder and udp.Forwarder, a dial of the
// original destination, and a copy in both directions.
//
// With -vnet the TUN is opened with IFF_VNET_HDR and carries TSO superpackets in both directions
// through a link endpoint of our own: gVisor's fdbased endpoint has GSO for AF_PACKET sockets only.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	nicID       = 1
	dialTimeout = 5 * time.Second
	maxInFlight = 4096
	copyBytes   = 32768
	defaultMTU  = 1500
	udpBuffer   = 4 << 20
	udpTimeout  = 60 * time.Second
	maxDatagram = 65535
)

func main() {
	name := flag.String("tun", "tun0", "device name")
	mtu := flag.Int("mtu", defaultMTU, "device MTU")
	vnet := flag.Bool("vnet", false, "IFF_VNET_HDR and TSO")
	flag.Parse()

	endpoint, err := newEndpoint(*name, *mtu, *vnet)
	if err != nil {
		log.Fatal(err)
	}
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	sack := tcpip.TCPSACKEnabled(true)
	s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)
	forwarder := tcp.NewForwarder(s, 0, maxInFlight, forward)
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, forwarder.HandlePacket)
	// What an endpoint holds by itself, 32 KiB, is 22 large datagrams.
	buffer := tcpip.ReceiveBufferSizeOption{Min: 4096, Default: udpBuffer, Max: udpBuffer}
	if err := s.SetOption(buffer); err != nil {
		log.Fatal(err)
	}
	datagrams := udp.NewForwarder(s, func(request *udp.ForwarderRequest) { forwardUDP(s, request) })
	s.SetTransportProtocolHandler(udp.ProtocolNumber, datagrams.HandlePacket)
	if err := s.CreateNIC(nicID, endpoint); err != nil {
		log.Fatal(err)
	}
	s.SetPromiscuousMode(nicID, true)
	s.SetSpoofing(nicID, true)
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nicID}})
	select {}
}

// forward dials first and answers the SYN afterwards: SYN-ACK or RST, as the dial went.
func forward(request *tcp.ForwarderRequest) {
	id := request.ID()
	target := net.JoinHostPort(id.LocalAddress.String(), fmt.Sprint(id.LocalPort))
	upstream, err := net.DialTimeout("tcp", target, dialTimeout)
	if err != nil {
		request.Complete(true)
		return
	}
	var queue waiter.Queue
	endpoint, tcpErr := request.CreateEndpoint(&queue)
	if tcpErr != nil {
		request.Complete(true)
		upstream.Close()
		return
	}
	request.Complete(false)
	endpoint.SocketOptions().SetDelayOption(false)
	relay(gonet.NewTCPConn(&queue, endpoint), upstream)
}

// forwardUDP has the endpoint before it returns, so that the next datagram finds it.
func forwardUDP(s *stack.Stack, request *udp.ForwarderRequest) {
	id := request.ID()
	var queue waiter.Queue
	endpoint, err := request.CreateEndpoint(&queue)
	if err != nil {
		return
	}
	client := gonet.NewUDPConn(s, &queue, endpoint)
	go func() {
		defer client.Close()
		target := net.UDPAddr{IP: net.IP(id.LocalAddress), Port: int(id.LocalPort)}
		upstream, err := net.DialUDP("udp", nil, &target)
		if err != nil {
			return
		}
		defer upstream.Close()
		go relayDatagrams(client, upstream)
		relayDatagrams(upstream, client)
	}()
}

// relayDatagrams ends when nothing came for some time; then the other direction ends too.
func relayDatagrams(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, maxDatagram)
	for {
		from.SetReadDeadline(time.Now().Add(udpTimeout))
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

type halfCloser interface{ CloseWrite() error }

func relay(a, b net.Conn) {
	var group sync.WaitGroup
	group.Add(2)
	pump := func(to, from net.Conn) {
		defer group.Done()
		// Hide ReadFrom and WriteTo, so that both directions use the same buffer.
		io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, copyBytes))
		to.(halfCloser).CloseWrite()
	}
	go pump(a, b)
	go pump(b, a)
	group.Wait()
	a.Close()
	b.Close()
}
