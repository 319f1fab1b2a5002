import type { Peer } from '../peer.ts';

export const peer: Peer = {
  about: 'the physical limit: the kernel forwards packets, nothing terminates TCP',
  kind: 'kernel',
  requires: [],
};
