import { join } from 'node:path';
import type { Peer } from '../peer.ts';

// A server 0.0.0.0 is the client's original destination, which HAProxy asks netfilter for.
const CONFIG = `global
  maxconn 7800
  nbthread 2
defaults
  mode tcp
  option splice-auto
  timeout connect 5s
  timeout client 300s
  timeout server 300s
frontend clients
  bind :15000
  default_backend original
backend original
  server destination 0.0.0.0
`;

export const peer: Peer = {
  about: 'HAProxy in tcp mode with splice, 2 threads, behind an nftables redirect',
  kind: 'kernel',
  tcpOnly: true,
  requires: [{ path: 'haproxy', debian: 'haproxy' }],
  version: { debian: 'haproxy' },
  files: () => ({ 'haproxy.cfg': CONFIG }),
  command: ({ folder }) => ['haproxy', '-db', '-f', join(folder, 'haproxy.cfg')],
  nftables: `table ip bench {
    chain clients {
      type nat hook prerouting priority -100
      iifname "g0" meta l4proto tcp redirect to :15000
    }
  }`,
  // Its pipes for splice take open files as well.
  maxHeld: 7000,
};
