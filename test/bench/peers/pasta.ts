import type { Peer } from '../peer.ts';

export const peer: Peer = {
  about: 'pasta (passt): a TAP whose TCP is mapped to host sockets, with no buffer of its own',
  kind: 'attach',
  requires: [{ path: 'pasta', debian: 'passt' }],
  version: { debian: 'passt' },
  command: ({ tun, mtu, clientNamespace }) => [
    ...['pasta', '--foreground', '--quiet', '--runas', '0', '--config-net', '--no-map-gw'],
    ...['-t', 'none', '-u', 'none', '-T', 'none', '-U', 'none'],
    ...['-m', `${mtu}`, '-I', tun, '--netns', clientNamespace],
  ],
};
