/** The hidden sub-commands in which scripts run. */
import { SharedMemory } from '../../ffi/memory.ts';
import { setNonBlocking } from '../../ffi/sockets.ts';
import { ScriptHost } from '../../scripts-runtime/host.ts';
import { HEARTBEAT_BYTES, ScriptHostFd, type ToScriptHost } from '../messages/script-control.ts';
import { processClock } from './clock.ts';
import { confine } from './confine.ts';
import { ControlChannel } from './control-channel.ts';
import { HostLoop, SERVICES } from './host-loop.ts';

/** `__script-host`: runs scripts until the supervisor is gone. */
export async function runScriptHost(): Promise<never> {
  const heartbeat = new DataView(SharedMemory.map(ScriptHostFd.HEARTBEAT, HEARTBEAT_BYTES).buffer);
  setNonBlocking(ScriptHostFd.DATA_PLANE);
  confine();
  await new HostLoop(heartbeat).run();
  process.exit(0);
}

/**
 * `__script-check`: loads one bundle and tells how it went, so that a script that hangs or breaks
 * the engine while it loads disturbs nobody. Whoever starts it sets a time and kills it then.
 */
export async function runScriptCheck(): Promise<never> {
  confine();
  const control = new ControlChannel();
  const messages: ToScriptHost[] = [];
  while (messages.length === 0) {
    if (!control.read((message) => messages.push(message))) process.exit(1);
  }
  const [message] = messages;
  if (message?.kind !== 'load') throw new Error(`expected a bundle, not ${message?.kind}`);
  const { generation } = message.bundle;
  const issues = await makeHost(control).load(message.bundle);
  control.send(
    issues.length === 0
      ? { kind: 'loaded', generation }
      : { kind: 'load-failed', generation, issues },
  );
  process.exit(0);
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
      log: (line) => control.send({ kind: 'log', ...line }),
      kv: () => {},
      stats: () => {},
    },
    SERVICES,
  );
