import { join } from 'node:path';
import type { Peer, Place } from '../peer.ts';
import { NAT_ADDRESS } from '../topology.ts';
import { peer as culvert } from './culvert.ts';

/** As much as the kernel's conntrack has rows for in a namespace of this size. */
const FLOWS = 262_144;

// The time-outs of what is closed are short, as they are for the kernel's conntrack here.
const config = ({ tun, mtu }: Place) => ({
  device: { name: tun, mtu, addresses: [] },
  listeners: [{ name: 'all', protocol: 'any', action: 'nat' }],
  nat: { addresses: [NAT_ADDRESS] },
  conntrack: { timeouts: { tcpTimeWait: '1s', tcpClose: '1s' } },
  log: { level: 'warn', flows: false },
  limits: { flows: FLOWS },
});

export const peer: Peer = {
  ...culvert,
  about: 'this gateway as a NAT: a listener decides, and packets are rewritten, not terminated',
  kind: 'routed-tun',
  files: (place) => ({ 'config.json': JSON.stringify(config(place), undefined, 2) }),
  // The folder and the files of the command are those of the other peer.
  command: (place) => culvert.command?.(place) ?? [join(place.folder, 'culvert')],
};
