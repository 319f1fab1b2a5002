/**
 * One gateway whose destination ports choose how a flow is decided and carried, so that all that is
 * compared runs in the same processes, as warm as each other.
 */
import { join } from 'node:path';
import { hostileScript } from '../../support/hostile-scripts.ts';
import { launch } from '../command.ts';
import type { Peer, Place } from '../peer.ts';
import { peer as culvert } from '../peers/culvert.ts';
import { goProgram } from '../requirements.ts';
import { inside, type Topology } from '../topology.ts';

/**
 * Behind some is an echo of the server, behind those that are only dialled a sink, so that the
 * server leaves the processors to the gateway. `ECHO` and `CLAIM` are answered by the script alone,
 * the flows to `REFUSE_…` by a reset.
 */
export const Port = {
  LISTENER: 7100,
  SYNC: 7101,
  ASYNC: 7102,
  KV: 7103,
  SET: 7104,
  SPLICE: 7105,
  CLAIM: 7106,
  ECHO: 7107,
  DIAL_LISTENER: 7108,
  DIAL_SYNC: 7109,
  REFUSE_LISTENER: 7110,
  REFUSE_SYNC: 7111,
  REFUSE_ASYNC: 7112,
  REFUSE_KV: 7113,
  REFUSE_SET: 7114,
  FORWARD_BULK: 5202,
  SPLICE_BULK: 5203,
  BAIT: 666,
} as const;

const ECHOES = [Port.LISTENER, Port.SYNC, Port.SPLICE];
const SINKS = [Port.DIAL_LISTENER, Port.DIAL_SYNC, Port.ASYNC, Port.KV, Port.SET];
const BULK = [Port.FORWARD_BULK, Port.SPLICE_BULK];

const SET_ENTRIES = 100_000;

const SCRIPT = `import { claim, connect, forward, reject } from "culvert";

const later = async (verdict) => {
  await null;
  return verdict;
};

const echo = async (conn) => {
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
    await conn.write(bytes);
  }
  await conn.closeWrite();
};

export default {
  flow(f, env) {
    switch (f.dst.port) {
      case ${Port.ASYNC}:
        return later(forward());
      case ${Port.REFUSE_ASYNC}:
        return later(reject());
      case ${Port.KV}:
      case ${Port.REFUSE_KV}: {
        const count = env.KV.incr(f.src.ip, 1, { init: 0, ttlMs: 60000 });
        return count > 1e12 || f.dst.port === ${Port.REFUSE_KV} ? reject() : forward();
      }
      case ${Port.SET}:
      case ${Port.REFUSE_SET}: {
        const isBlocked = env.sets.has("blocked", f.src.ip);
        return isBlocked || f.dst.port === ${Port.REFUSE_SET} ? reject() : forward();
      }
      case ${Port.REFUSE_SYNC}:
        return reject();
      case ${Port.CLAIM}:
      case ${Port.ECHO}:
      case ${Port.SPLICE}:
      case ${Port.SPLICE_BULK}:
        return claim();
      default:
        return forward();
    }
  },
  async connect(conn) {
    const { port } = conn.flow.dst;
    if (port === ${Port.CLAIM}) return;
    if (port === ${Port.ECHO}) return echo(conn);
    await conn.splice(connect(conn.flow.dst.toString()));
  },
};
`;

const networks = (): string =>
  Array.from(
    { length: SET_ENTRIES },
    (_, i) => `${11 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.0/24`,
  ).join('\n');

const config = ({ tun, mtu, folder }: Place, scripts: readonly string[]) => ({
  device: { name: tun, mtu, addresses: [] },
  listeners: [
    { name: 'static', ports: [Port.LISTENER, Port.DIAL_LISTENER], action: 'forward' },
    { name: 'refused', ports: [Port.REFUSE_LISTENER], action: 'reject' },
  ],
  scripts: {
    load: scripts.map((name) => ({ name, file: join(folder, `${name}.ts`) })),
    sets: { blocked: { type: 'cidr', file: join(folder, 'blocked.txt') } },
    // What is measured here costs more than a script may usually have, and some of it on purpose.
    limits: { connCpuMs: 3_600_000, breakerHits: 1_000_000 },
  },
  log: { level: 'warn', flows: false },
  limits: { flows: 65536, claims: 4096 },
});

const peerWith = (scripts: readonly string[]): Peer => ({
  ...culvert,
  about: 'this gateway',
  files: (place) => ({
    'bench.ts': SCRIPT,
    'hostile.ts': hostileScript('return decline();', Port.BAIT),
    'blocked.txt': networks(),
    'config.json': JSON.stringify(config(place, scripts), undefined, 2),
  }),
});

export const peer = peerWith(['bench']);
/** With another script in front, in the same host. */
export const peerBehindHostile = peerWith(['hostile', 'bench']);

/** Starts what stands behind these ports, besides the servers of all benches. */
export function startServices(topology: Topology, folder: string): void {
  const start = (name: string, command: readonly string[]): void => {
    launch(inside(topology.server, command), join(folder, `server-${name}.log`));
  };
  const echo = [goProgram('lt'), 'echo', '-buffer', `${64 * 1024}`];
  for (const port of ECHOES) start(`echo-${port}`, [...echo, '-listen', `:${port}`]);
  for (const port of SINKS) {
    start(`sink-${port}`, [goProgram('lt'), 'sink', '-listen', `:${port}`]);
  }
  for (const port of BULK) start(`iperf3-${port}`, ['iperf3', '-s', '-p', `${port}`]);
}
