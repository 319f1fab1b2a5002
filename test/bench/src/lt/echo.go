package main

import (
	"flag"
	"io"
	"log"
	"net"
)

func echo(args []string) {
	flags := flag.NewFlagSet("echo", flag.ExitOnError)
	listen := flags.String("listen", ":7000", "TCP address")
	bytes := flags.Int("buffer", 512, "bytes that each connection copies at a time")
	flags.Parse(args)

	listener, err := net.Listen("tcp4", *listen)
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Print(err)
			continue
		}
		go func() {
			defer conn.Close()
			// Hide ReadFrom: it would splice through a pipe, two more fds for each idle connection.
			io.CopyBuffer(struct{ io.Writer }{conn}, conn, make([]byte, *bytes))
		}()
	}
}
