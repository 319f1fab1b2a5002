import type { Peer } from '../peer.ts';

export const peer: Peer = {
  about: 'slirp4netns (libslirp): a TAP, one thread',
  kind: 'attach',
  requires: [{ path: 'slirp4netns', debian: 'slirp4netns' }],
  version: { debian: 'slirp4netns' },
  command: ({ tun, mtu, clientNamespace }) => [
    ...['slirp4netns', '--netns-type=path', '-c', '-m', `${mtu}`, clientNamespace, tun],
  ],
  // libslirp waits in select(2).
  maxHeld: 900,
};
