import type { Peer } from '../peer.ts';
import { GVISOR, goProgram } from '../requirements.ts';

export const peer: Peer = {
  about: "gVisor's netstack on a plain TUN, as tun2socks and sing-box use it (`src/gvfwd`)",
  kind: 'tun',
  requires: [GVISOR],
  version: { debian: 'golang-gvisor-gvisor-dev' },
  command: ({ tun, mtu }) => [goProgram('gvfwd'), '-tun', tun, '-mtu', `${mtu}`],
};
