/** Loads a bundle in a process that is thrown away, so that nothing it does can matter. */
import { encodeJsonFrame, FrameTooLargeError } from '../messages/framing.ts';
import type { ScriptIssue, ToScriptHost } from '../messages/script-control.ts';
import { Child, type ChildExit, selfCommand } from './child.ts';
import { parseFromScriptHost } from './child-messages.ts';
import {
  type BundleContent,
  bundleIssue,
  type Generation,
  ScriptHostError,
} from './generations.ts';
import { toBundle } from './script-bundle.ts';
import { processCpuMs } from './watchdog.ts';

/** A process of a compiled binary is up in 50 ms; a busy machine needs more. */
export const START_ALLOWANCE_MS = 5_000;
/** Whatever `loadMs` says: whoever asked for the change waits for an answer. */
const LOAD_MAX_MS = 60_000;

/** How long a bundle may take to load, all scripts together. */
export const loadTimeMs = ({ limits, scripts }: BundleContent): number =>
  Math.min(limits.loadMs * scripts.length, LOAD_MAX_MS);

/** Checks scripts that belong to no gateway. */
export const tryScripts = (content: BundleContent, iface: string) =>
  checkScripts({ ...content, number: 1, hash: '', origin: 'start', createdAt: 0 }, iface);

/**
 * What is wrong with the scripts of a generation; nothing wrong is an empty list.
 *
 * @param iface  name of the device, as scripts will see it
 * @throws ScriptHostError  when the machine did not get to it
 */
export async function checkScripts(
  generation: Generation,
  iface: string,
  command: readonly string[] = selfCommand('__script-check'),
): Promise<readonly ScriptIssue[]> {
  if (generation.scripts.length === 0) return [];
  const bundle = toBundle(generation, { iface, disabled: [] });
  const message: ToScriptHost = { kind: 'load', bundle, epoch: 0 };
  const tooLong = frameFault(message);
  if (tooLong !== undefined) return [bundleIssue(generation, 'limit', tooLong)];
  const { promise, resolve, reject } = Promise.withResolvers<readonly ScriptIssue[]>();
  const child = new Child(command, [], {
    onMessage: (raw) => {
      const answer = parseFromScriptHost(raw);
      if (answer.kind === 'loaded') resolve([]);
      if (answer.kind === 'load-failed') resolve(nonEmpty(answer.issues, generation));
    },
    onExit: (exit) => resolve([bundleIssue(generation, 'load', describeExit(exit))]),
  });
  child.send(message);
  const timeoutMs = loadTimeMs(generation);
  const timer = setTimeout(() => {
    const text = `did not load within ${timeoutMs} ms`;
    if (processCpuMs(child.pid) >= timeoutMs) resolve([bundleIssue(generation, 'limit', text)]);
    else reject(new ScriptHostError(`the scripts ${text}: the machine is overloaded`));
  }, timeoutMs + START_ALLOWANCE_MS);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    child.kill();
  }
}

/** Why a message cannot be sent to a host; told here, where no host is there to be disturbed. */
function frameFault(message: ToScriptHost): string | undefined {
  try {
    encodeJsonFrame(message);
    return undefined;
  } catch (error) {
    if (!(error instanceof FrameTooLargeError)) throw error;
    return `the scripts and their vars do not fit: ${error.message}`;
  }
}

/** A refusal always has a reason: an empty list would read as success. */
export const nonEmpty = (
  issues: readonly ScriptIssue[],
  generation: Generation,
): readonly ScriptIssue[] =>
  issues.length > 0 ? issues : [bundleIssue(generation, 'load', 'did not load, without a reason')];

export function describeExit({ code, signal, protocolError }: ChildExit): string {
  if (protocolError !== undefined)
    return `the script host broke the protocol: ${protocolError.message}`;
  return `the script host ended while loading (${signal ?? `exit code ${code}`})`;
}
