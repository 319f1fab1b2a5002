/**
 * What stays of a gateway without a kernel: the log on standard error, the API, the signals, and a
 * script host that hangs at once. It logs far more than a pipe holds, then says `killed` on
 * standard output when the watchdog has done its work. Run with the path of a socket.
 */
import { openSync, writeSync } from 'node:fs';
import { HEARTBEAT_BYTES, HeartbeatField } from '../../../src/gateway/messages/script-control.ts';
import { listen } from '../../../src/gateway/supervisor/api/listen.ts';
import { Ending } from '../../../src/gateway/supervisor/ending.ts';
import { createLogger } from '../../../src/gateway/supervisor/log/logger.ts';
import { ScriptHost } from '../../../src/gateway/supervisor/scripts/script-host.ts';
import { onSignals } from '../../../src/gateway/supervisor/signals.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../src/scripts-runtime/limits.ts';
import { apiOf, fakePlane } from './api/fake-plane.ts';
import { fakeCommand, until } from './support.ts';

const LINES = 1000;
const STDOUT = 1;

const [socket = ''] = process.argv.slice(2);
const log = createLogger({ level: 'info', format: 'json' });
const plane = fakePlane();
const ending = new Ending({
  log,
  drain: async () => 0,
  drainMs: () => 0,
  onEnding: () => {},
  end: (code) => process.exit(code),
});
onSignals({ reloadAsConfigured: () => plane.startReload({}) }, log, ending);
await listen({ kind: 'unix', path: socket }, apiOf(plane).fetch);

const page = () => ({
  fd: openSync('/dev/null', 'r'),
  view: new DataView(new ArrayBuffer(HEARTBEAT_BYTES)),
});
const pages = [page(), page()] as const;
const host = new ScriptHost({
  log,
  fds: () => [],
  pages,
  iface: () => 'x0',
  monotonicUs: () => performance.now() * 1000,
  onState: () => {},
  hostCommand: fakeCommand(),
});
await host.activate({
  number: 1,
  hash: '',
  origin: 'api',
  createdAt: 0,
  scripts: [{ name: 'a', file: 'a.ts', source: 'fine' }],
  vars: {},
  limits: DEFAULT_SCRIPT_LIMITS,
});
pages[0].view.setFloat64(HeartbeatField.BUSY_SINCE, performance.now() * 1000, true);
for (let n = 0; n < LINES; n++) log.info({ n, filler: 'x'.repeat(1024) }, 'busy');
await until(() => host.ends.sums.wall + host.ends.sums.cpu === 1, 'the watchdog');
writeSync(STDOUT, 'killed\n');
setInterval(() => log.info('still here'), 10);
