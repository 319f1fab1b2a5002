import { NO_CONNS } from '../../scripts-runtime/conns/no-conns.ts';
import { ScriptHost } from '../../scripts-runtime/host.ts';
import type { ToScriptHost } from '../messages/script-control.ts';
import { processClock } from './clock.ts';
import { ControlChannel } from './control-channel.ts';
import { SERVICES } from './host-loop.ts';

const DRIVE_MS = 5;

/** Reads one `load`, does it, and answers. Ends the process when the supervisor is gone. */
export async function checkOneBundle(): Promise<void> {
  const control = new ControlChannel();
  const messages: ToScriptHost[] = [];
  while (messages.length === 0) {
    const isOpen = control.read((message) => {
      // A KV store is not needed to tell whether a bundle loads.
      if (message.kind !== 'kv-restore') messages.push(message);
    });
    if (!isOpen) process.exit(1);
  }
  const [message] = messages;
  if (message?.kind !== 'load') throw new Error(`expected a bundle, not ${message?.kind}`);
  const { generation } = message.bundle;
  const host = makeHost(control);
  // A script may wait while it loads, and nothing else drives its timers here.
  const drive = setInterval(() => host.expire(processClock.now()), DRIVE_MS);
  const issues = await host.load(message.bundle);
  clearInterval(drive);
  control.send(
    issues.length === 0
      ? { kind: 'loaded', generation, closers: [] }
      : { kind: 'load-failed', generation, issues },
  );
}

/** A host that is never asked. What scripts log while they load is worth showing. */
const makeHost = (control: ControlChannel): ScriptHost =>
  new ScriptHost(
    {
      ...processClock,
      epochMs: Date.now,
      enter: () => {},
      leave: () => {},
      answer: () => {},
      resolve: () => {},
      conns: NO_CONNS,
      log: (line) => control.send({ kind: 'log', ...line }),
      kv: () => {},
      metrics: () => {},
      closedTold: () => {},
      stats: () => {},
    },
    SERVICES,
  );
