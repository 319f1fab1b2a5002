/** What stands behind the gateway: iperf3, nginx that answers `ok`, an echo server. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BenchError, launch, run, waitFor } from './command.ts';
import { goProgram } from './requirements.ts';
import { inside, SERVER_ADDRESS, type Topology } from './topology.ts';

export const IPERF_PORT = 5201;
export const ECHO_PORT = 7000;
/** The load tool binds it in the server's namespace by itself. */
export const UDP_PORT = 7001;
export const WEB_PORT = 8080;

/** Addresses that new connections are spread over, so that ephemeral ports do not run out. */
export const SERVER_ADDRESSES = 16;

/** State of a listening socket in `/proc/net/tcp`. */
const TCP_LISTEN = '0A';

export async function startServer(topology: Topology, folder: string): Promise<void> {
  const nginxConfig = join(folder, 'server-nginx.conf');
  writeFileSync(nginxConfig, nginxText(folder));
  const start = (name: string, command: readonly string[]): void => {
    launch(inside(topology.server, command), join(folder, `server-${name}.log`));
  };
  start('iperf3', ['iperf3', '-s', '-B', SERVER_ADDRESS]);
  start('nginx', ['nginx', '-c', nginxConfig]);
  start('echo', [goProgram('lt'), 'echo', '-listen', `:${ECHO_PORT}`]);
  const ports = [IPERF_PORT, ECHO_PORT, WEB_PORT];
  if (!(await waitFor(5, () => areListening(topology, ports)))) {
    throw new BenchError(`the servers do not listen: see the logs in ${folder}`);
  }
}

/** True when the client gets a reply from the server, through whatever is between them. */
export async function probe(topology: Topology): Promise<boolean> {
  const target = `${SERVER_ADDRESS}:${WEB_PORT}`;
  const load = [goProgram('lt'), 'connrate', '-addr', target, '-c', '1', '-d', '300ms'];
  const { code, stdout } = await run(inside(topology.client, load), { timeout: 10 });
  return code === 0 && JSON.parse(stdout).n > 0;
}

async function areListening(topology: Topology, ports: readonly number[]): Promise<boolean> {
  const table = (await run(inside(topology.server, ['cat', '/proc/net/tcp']))).stdout;
  return ports.every((port) => {
    const hex = port.toString(16).toUpperCase().padStart(4, '0');
    return new RegExp(`:${hex} [0-9A-F]{8}:0000 ${TCP_LISTEN}`).test(table);
  });
}

const nginxText = (folder: string): string => `
daemon off;
worker_processes 1;
worker_rlimit_nofile 19000;
error_log ${folder}/server-nginx.log;
pid ${folder}/server-nginx.pid;
events { worker_connections 18000; }
http {
  access_log off;
  keepalive_requests 100000000;
  server {
    listen ${WEB_PORT} backlog=16384;
    location / { return 200 "ok\\n"; }
  }
}
`;
