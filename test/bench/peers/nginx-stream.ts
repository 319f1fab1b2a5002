import { join } from 'node:path';
import type { Peer } from '../peer.ts';
import { ECHO_PORT, IPERF_PORT, SERVER_ADDRESSES, WEB_PORT } from '../server.ts';

const MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so';

/** It listens on the server's port plus this. */
const PORT_SHIFT = 10_000;

const PORTS = [IPERF_PORT, ECHO_PORT, WEB_PORT];

// It cannot ask netfilter for the original destination, so it takes the server's addresses in turn,
// as the load tool does. iperf3 has one address.
const proxy = (port: number): string => {
  const count = port === IPERF_PORT ? 1 : SERVER_ADDRESSES;
  const servers = Array.from({ length: count }, (_, i) => `server 198.18.0.${10 + i}:${port};`);
  return `
  upstream port${port} { ${servers.join(' ')} }
  server { listen ${port + PORT_SHIFT} backlog=4096; proxy_pass port${port}; }`;
};

const config = (folder: string): string => `
load_module ${MODULE};
daemon off;
worker_processes 2;
worker_rlimit_nofile 19900;
error_log stderr crit;
pid ${folder}/nginx.pid;
events { worker_connections 19800; }
stream {
  proxy_buffer_size 64k;
  ${PORTS.map(proxy).join('')}
}
`;

export const peer: Peer = {
  about: 'nginx stream: 2 workers, a copy through a 64 KiB buffer, behind an nftables redirect',
  kind: 'kernel',
  tcpOnly: true,
  requires: [
    { path: 'nginx', debian: 'nginx-light' },
    { path: MODULE, debian: 'libnginx-mod-stream' },
  ],
  version: { debian: 'nginx' },
  files: ({ folder }) => ({ 'nginx.conf': config(folder) }),
  command: ({ folder }) => ['nginx', '-c', join(folder, 'nginx.conf')],
  nftables: `table ip bench {
    chain clients {
      type nat hook prerouting priority -100
      iifname "g0" tcp dport { ${PORTS.join(', ')} } redirect to :tcp dport map {
        ${PORTS.map((port) => `${port} : ${port + PORT_SHIFT}`).join(', ')}
      }
    }
  }`,
};
