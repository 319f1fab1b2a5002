/**
 * The hidden sub-commands in which scripts run. Each starts over first, so what they need is
 * imported after that.
 */
import { queueFds, ScriptHostFd } from '../messages/script-control.ts';
import { confine, restartWithoutPrivileges } from './confine.ts';

/** `__script-host QUEUES`: runs scripts until the supervisor is gone. */
export async function runScriptHost(queues: number): Promise<never> {
  const links = Array.from({ length: queues }, (_, queue) => Object.values(queueFds(queue)));
  restartWithoutPrivileges([...Object.values(ScriptHostFd), ...links.flat()]);
  const { HostLoop } = await import('./host-loop.ts');
  const loop = new HostLoop(queues);
  confine();
  await loop.run();
  process.exit(0);
}

/**
 * `__script-check`: loads one bundle and tells how it went, so that a script that hangs or breaks
 * the engine while it loads disturbs nobody. Whoever starts it sets a time and kills it then.
 */
export async function runScriptCheck(): Promise<never> {
  restartWithoutPrivileges([]);
  const { checkOneBundle } = await import('./check.ts');
  confine();
  await checkOneBundle();
  process.exit(0);
}
