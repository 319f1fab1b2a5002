/**
 * The paths behind the link, all there at the same time; the destination's network says which one a
 * connection takes. Every address is the server's.
 *
 *   198.18.1.0/24  culvert   routed into its TUN; it terminates TCP and dials the server
 *   198.18.2.0/24  haproxy   redirected to HAProxy; the kernel terminates TCP
 *   198.18.3.0/24  kernel    forwarded: the client's kernel talks to the server's
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BenchError, launch, must, waitFor } from '../command.ts';
import type { Peer, Place } from '../peer.ts';
import { peer as culvert } from '../peers/culvert.ts';
import { peer as haproxy } from '../peers/haproxy.ts';
import { inside, type Topology, TUN } from '../topology.ts';

export const PATHS = ['kernel', 'haproxy', 'culvert'] as const;
export type PathName = (typeof PATHS)[number];

export const PATH_PEERS: Readonly<Partial<Record<PathName, Peer>>> = { haproxy, culvert };

export const PATH_ABOUT: Readonly<Record<PathName, string>> = {
  kernel: "the client's kernel to the server's kernel; the gateway's forwards packets",
  haproxy: "the gateway's kernel terminates TCP for HAProxy, which dials the server",
  culvert: 'culvert terminates TCP and dials the server',
};

/** Where a client connects to, to take a path. */
export const ADDRESSES: Readonly<Record<PathName, string>> = {
  culvert: '198.18.1.10',
  haproxy: '198.18.2.10',
  kernel: '198.18.3.10',
};

/** Only what comes from the link is turned aside: culvert's own dials take the main table. */
const CULVERT_TABLE = '100';
const CULVERT_NETWORK = '198.18.1.0/24';
const HAPROXY_RULES = `table ip bench {
  chain clients {
    type nat hook prerouting priority -100
    iifname "g0" ip daddr 198.18.2.0/24 meta l4proto tcp redirect to :15000
  }
}`;

const START_TIMEOUT_S = 10;

/** Starts what stands behind the link. @throws BenchError when one of them does not serve */
export async function startPaths(
  topology: Topology,
  names: readonly PathName[],
  folder: string,
): Promise<void> {
  if (names.includes('haproxy')) {
    start('haproxy', haproxy, topology, folder);
    await must(inside(topology.gateway, ['nft', '-f', '-']), { input: HAPROXY_RULES });
  }
  if (names.includes('culvert')) await startCulvert(topology, folder);
}

async function startCulvert(topology: Topology, folder: string): Promise<void> {
  const { gateway } = topology;
  const place = start('culvert', culvert, topology, folder);
  const isReady = () => culvert.isReady?.(place) ?? true;
  if (!(await waitFor(START_TIMEOUT_S, isReady))) {
    throw new BenchError(`culvert is not ready: see ${place.folder}.log`);
  }
  await must(words(`ip -n ${gateway} link set ${TUN} mtu ${place.mtu} txqueuelen 16384 up`));
  const table = `table ${CULVERT_TABLE}`;
  await must(words(`ip -n ${gateway} route add ${CULVERT_NETWORK} dev ${TUN} ${table}`));
  await must(words(`ip -n ${gateway} rule add iif g0 to ${CULVERT_NETWORK} ${table}`));
  await must(inside(gateway, ['sysctl', '-qw', `net.ipv4.conf.${TUN}.rp_filter=0`]));
}

function start(name: string, peer: Peer, topology: Topology, folder: string): Place {
  const place = { tun: TUN, mtu: 1500, clientNamespace: '', folder: join(folder, name) };
  mkdirSync(place.folder, { recursive: true });
  for (const [file, text] of Object.entries(peer.files?.(place) ?? {})) {
    writeFileSync(join(place.folder, file), text);
  }
  launch(inside(topology.gateway, peer.command?.(place) ?? []), `${place.folder}.log`);
  return place;
}

const words = (text: string): string[] => text.split(' ');
