package main

import (
	"encoding/binary"
	"log"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/bufferv2"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// struct virtio_net_hdr, linux/virtio_net.h, in host (little-endian) order
const (
	vnetHeaderLength = 10
	vnetFlagsAt      = 0
	vnetGSOTypeAt    = 1
	vnetHdrLenAt     = 2
	vnetGSOSizeAt    = 4
	vnetCsumStartAt  = 6
	vnetCsumOffsetAt = 8
	vnetNeedsCsum    = 1
	vnetGSOTCPv4     = 1
	maxPacket        = 65535
	gsoMaxSize       = maxPacket - 100
)

// vnetEndpoint is a link endpoint over a TUN fd with a virtio_net_hdr before each packet.
type vnetEndpoint struct {
	fd         int
	mtu        uint32
	dispatcher stack.NetworkDispatcher
}

func (e *vnetEndpoint) MTU() uint32                     { return e.mtu }
func (e *vnetEndpoint) MaxHeaderLength() uint16         { return 0 }
func (e *vnetEndpoint) LinkAddress() tcpip.LinkAddress  { return "" }
func (e *vnetEndpoint) IsAttached() bool                { return e.dispatcher != nil }
func (e *vnetEndpoint) Wait()                           {}
func (e *vnetEndpoint) AddHeader(stack.PacketBufferPtr) {}
func (e *vnetEndpoint) GSOMaxSize() uint32              { return gsoMaxSize }
func (e *vnetEndpoint) SupportedGSO() stack.SupportedGSO {
	return stack.HostGSOSupported
}
func (e *vnetEndpoint) ARPHardwareType() header.ARPHardwareType {
	return header.ARPHardwareNone
}
func (e *vnetEndpoint) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

func (e *vnetEndpoint) Attach(dispatcher stack.NetworkDispatcher) {
	e.dispatcher = dispatcher
	if dispatcher != nil {
		go e.readAll()
	}
}

// readAll owns a thread with a blocking fd: faster here than the poller of the Go runtime.
func (e *vnetEndpoint) readAll() {
	buffer := make([]byte, vnetHeaderLength+maxPacket)
	for {
		n, err := unix.Read(e.fd, buffer)
		switch err {
		case nil:
		case unix.EINTR, unix.EIO: // EIO: the device is down, as while it is moved
			continue
		default:
			log.Fatal("read of the TUN: ", err)
		}
		if n <= vnetHeaderLength || header.IPVersion(buffer[vnetHeaderLength:n]) != header.IPv4Version {
			continue
		}
		view := bufferv2.NewViewWithData(buffer[vnetHeaderLength:n])
		packet := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: bufferv2.MakeWithView(view)})
		e.dispatcher.DeliverNetworkPacket(header.IPv4ProtocolNumber, packet)
		packet.DecRef()
	}
}

func (e *vnetEndpoint) WritePackets(packets stack.PacketBufferList) (int, tcpip.Error) {
	for _, packet := range packets.AsSlice() {
		vnet := vnetHeader(packet)
		vector := append(make([][]byte, 0, 8), vnet[:])
		for _, slice := range packet.AsSlices() {
			if len(slice) > 0 {
				vector = append(vector, slice)
			}
		}
		if _, err := unix.Writev(e.fd, vector); err != nil && err != unix.EIO {
			log.Print("write to the TUN: ", err)
		}
	}
	return packets.Len(), nil
}

func vnetHeader(packet stack.PacketBufferPtr) (h [vnetHeaderLength]byte) {
	gso := packet.GSOOptions
	if gso.Type == stack.GSONone {
		return h
	}
	binary.LittleEndian.PutUint16(h[vnetHdrLenAt:], uint16(packet.HeaderSize()))
	if gso.NeedsCsum {
		h[vnetFlagsAt] = vnetNeedsCsum
		binary.LittleEndian.PutUint16(h[vnetCsumStartAt:], gso.L3HdrLen)
		binary.LittleEndian.PutUint16(h[vnetCsumOffsetAt:], gso.CsumOffset)
	}
	if packet.Data().Size() > int(gso.MSS) {
		h[vnetGSOTypeAt] = vnetGSOTCPv4
		binary.LittleEndian.PutUint16(h[vnetGSOSizeAt:], gso.MSS)
	}
	return h
}
