/** Flows in every state that a connection tracker tells apart, each to a port of its own. */
import type { TrackedFlow } from './kernel-conntrack.ts';
import type { Ends } from './nat-survey.ts';
import type { Family } from './netns.ts';
import { ping } from './route-tools.ts';

const Port = {
  ESTABLISHED: 7301,
  SYN_SENT: 7302,
  CLOSE_WAIT: 7303,
  TIME_WAIT: 7304,
  CLOSE: 7305,
  UNREPLIED: 7311,
  REPLIED: 7312,
  STREAM: 7313,
} as const;

/** A stream, to the kernel, lasts longer than 2 s: net/netfilter/nf_conntrack_proto_udp.c. */
const STREAM_MS = 2500;

/** Makes a flow for each state over one family, and leaves it in that. */
export async function makeTrackedFlows(ends: Ends, family: Family): Promise<void> {
  const { topology, client, server } = ends;
  const host = family.server;
  await server.call('echo', { port: Port.ESTABLISHED });
  await server.call('mute', { port: Port.CLOSE_WAIT });
  await server.call('who', { port: Port.TIME_WAIT });
  await server.call('resetter', { port: Port.CLOSE });
  await server.call('udpServe', { host, port: Port.UNREPLIED, kind: 'silent' });
  await server.call('udpServe', { host, port: Port.REPLIED, kind: 'echo' });
  await server.call('udpServe', { host, port: Port.STREAM, kind: 'echo' });

  const load = { host, port: Port.ESTABLISHED, flows: 1, blockBytes: 100, intervalMs: 200 };
  await client.call('hold', load);
  const blackHole = { host: family.blackHole, port: Port.SYN_SENT, timeoutMs: 300 };
  await client.call('connect', blackHole);
  await client.call('halfClose', { host, port: Port.CLOSE_WAIT });
  await client.call('ask', { host, port: Port.TIME_WAIT });
  const ask = { host, family: family.version, timeoutMs: 300 };
  await client.call('udpAsk', { ...ask, port: Port.UNREPLIED });
  await client.call('udpAsk', { ...ask, port: Port.REPLIED });
  const to = { host, port: Port.STREAM };
  const { id } = await client.call('udpOpen', { family: family.version, to });
  for (let i = 0; i < 3; i++) {
    await client.call('udpSend', { id, text: 'x' });
    await client.call('udpNext', { id, timeoutMs: 1000 });
    if (i < 2) await Bun.sleep(STREAM_MS / 2);
  }
  await ping(topology, family.far, '-c', '1');
  await ping(topology, family.blackHole, '-c', '1', '-W', '1');
  // Last: the kernel forgets it after 10 s.
  const end = { send: 0, receive: 0, seed: 1, peerSeed: 2, sendWhen: 'after-fin' } as const;
  await client.call('transfer', { host, port: Port.CLOSE, ...end });
  for (const port of [Port.UNREPLIED, Port.REPLIED, Port.STREAM]) {
    await server.call('udpUnserve', { host, port });
  }
  for (const port of [Port.ESTABLISHED, Port.CLOSE_WAIT, Port.TIME_WAIT, Port.CLOSE]) {
    await server.call('unlisten', { port });
  }
}

/**
 * Those flows among all of a table, in an order that does not depend on the table, each without
 * the port that the client's kernel chose; it tells instead whether the NAT kept it.
 */
export function trackedFlows(table: readonly TrackedFlow[], family: Family) {
  const ports: readonly number[] = Object.values(Port);
  const hosts = [family.server, family.blackHole, family.far];
  const rows = table
    .filter(({ proto, original: { dst, dport } }) => {
      return hosts.includes(dst) && (proto === 'icmp' || ports.includes(dport ?? 0));
    })
    .map(({ proto, state, replied, assured, original, reply }) => ({
      flow: `${proto} ${original.src} > ${original.dst} ${original.dport ?? ''}`,
      reply: `${reply.src} ${reply.sport ?? ''} > ${reply.dst}`,
      keptPort: original.sport === reply.dport,
      state,
      replied,
      assured,
    }));
  return rows.toSorted((a, b) => (a.flow < b.flow ? -1 : 1));
}
