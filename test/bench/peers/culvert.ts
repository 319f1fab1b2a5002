import { join } from 'node:path';
import type { Peer, Place } from '../peer.ts';
import { ROOT } from '../requirements.ts';

const BINARY = join(ROOT, 'dist/culvert');

const SCRIPT = `import { forward } from "culvert";

export default {
  flow() {
    return forward();
  },
};
`;

// No listener: every new connection is decided by the script.
const config = ({ tun, mtu, folder }: Place) => ({
  device: { name: tun, mtu, addresses: [] },
  scripts: { load: [{ name: 'bench', file: join(folder, 'bench.ts') }] },
  log: { level: 'warn', flows: false },
  limits: { flows: 65536 },
});

const socketOf = ({ folder }: Place): string => join(folder, 'admin.sock');

export const peer: Peer = {
  about: 'this gateway: every flow is decided by a script, then terminated and spliced',
  kind: 'tun',
  warmsUp: true,
  requires: [{ path: BINARY, advice: 'npm run build' }],
  version: { command: [BINARY, 'version'] },
  files: (place) => ({
    'bench.ts': SCRIPT,
    'config.json': JSON.stringify(config(place), undefined, 2),
  }),
  command: (place) => [
    BINARY,
    'run',
    '-c',
    join(place.folder, 'config.json'),
    '-D',
    place.folder,
    '--admin',
    `unix://${socketOf(place)}`,
  ],
  isReady: (place) =>
    // Until it listens there is nobody to refuse us but the kernel: not ready, and not an error.
    fetch('http://culvert/readyz', { unix: socketOf(place) }).then(
      (response) => response.ok,
      () => false,
    ),
};
