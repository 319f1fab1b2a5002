package main

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// linux/if_tun.h
const tunOffloads = 1 | 2 | 4 // TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6

// newEndpoint opens the TUN device and wraps it: our vnetEndpoint, or gVisor's own without a
// virtio header.
func newEndpoint(name string, mtu int, vnet bool) (stack.LinkEndpoint, error) {
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if vnet {
		flags |= unix.IFF_VNET_HDR
	}
	fd, err := openTUN(name, flags)
	if err != nil {
		return nil, err
	}
	if err := setMTU(name, mtu); err != nil {
		return nil, err
	}
	if !vnet {
		return fdbased.New(&fdbased.Options{
			FDs: []int{fd}, MTU: uint32(mtu), PacketDispatchMode: fdbased.Readv,
		})
	}
	if err := ioctl(fd, unix.TUNSETOFFLOAD, tunOffloads); err != nil {
		return nil, fmt.Errorf("TUNSETOFFLOAD: %w", err)
	}
	return &vnetEndpoint{fd: fd, mtu: uint32(mtu)}, nil
}

func openTUN(name string, flags uint16) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	request := newIfreq(name)
	binary.LittleEndian.PutUint16(request[unix.IFNAMSIZ:], flags)
	if err := ioctl(fd, unix.TUNSETIFF, uintptr(unsafe.Pointer(request))); err != nil {
		return -1, fmt.Errorf("TUNSETIFF: %w", err)
	}
	return fd, nil
}

func setMTU(name string, mtu int) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	request := newIfreq(name)
	binary.LittleEndian.PutUint32(request[unix.IFNAMSIZ:], uint32(mtu))
	if err := ioctl(socket, unix.SIOCSIFMTU, uintptr(unsafe.Pointer(request))); err != nil {
		return fmt.Errorf("SIOCSIFMTU: %w", err)
	}
	return nil
}

// newIfreq makes a struct ifreq (40 bytes) that holds the name.
func newIfreq(name string) *[40]byte {
	var request [40]byte
	copy(request[:unix.IFNAMSIZ-1], name)
	return &request
}

func ioctl(fd int, number uint, argument uintptr) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(number), argument)
	if errno != 0 {
		return errno
	}
	return nil
}
