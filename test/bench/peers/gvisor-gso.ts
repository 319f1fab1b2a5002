import type { Peer } from '../peer.ts';
import { GVISOR, goProgram } from '../requirements.ts';

export const peer: Peer = {
  about: "gVisor's netstack with TSO superpackets both ways (`src/gvfwd -vnet`)",
  kind: 'tun',
  requires: [GVISOR],
  version: { debian: 'golang-gvisor-gvisor-dev' },
  command: ({ tun, mtu }) => [goProgram('gvfwd'), '-tun', tun, '-mtu', `${mtu}`, '-vnet'],
};
