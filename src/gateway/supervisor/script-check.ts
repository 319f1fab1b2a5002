/** Loads a bundle in a process that is thrown away, so that nothing it does can matter. */
import type { ScriptIssue } from '../messages/script-control.ts';
import { Child, type ChildExit, selfCommand } from './child.ts';
import { parseFromScriptHost } from './child-messages.ts';
import type { BundleContent, Generation } from './generations.ts';
import { toBundle } from './script-bundle.ts';

/** A process of a compiled binary is up in 50 ms; a busy machine needs more. */
export const START_ALLOWANCE_MS = 5_000;

/** Checks scripts that belong to no gateway. */
export const tryScripts = (content: BundleContent, iface: string) =>
  checkScripts({ ...content, number: 1, hash: '', origin: 'start', createdAt: 0 }, iface);

/**
 * What is wrong with the scripts of a generation; nothing wrong is an empty list.
 *
 * @param iface  name of the device, as scripts will see it
 */
export async function checkScripts(
  generation: Generation,
  iface: string,
  command: readonly string[] = selfCommand('__script-check'),
): Promise<readonly ScriptIssue[]> {
  if (generation.scripts.length === 0) return [];
  const { promise, resolve } = Promise.withResolvers<readonly ScriptIssue[]>();
  const child = new Child(command, [], {
    onMessage: (raw) => {
      const message = parseFromScriptHost(raw);
      if (message.kind === 'loaded') resolve([]);
      if (message.kind === 'load-failed') resolve(nonEmpty(message.issues, generation));
    },
    onExit: (exit) => resolve([bundleIssue(generation, 'load', describeExit(exit))]),
  });
  child.send({
    kind: 'load',
    bundle: toBundle(generation, { iface, kv: [], disabled: [] }),
    epoch: 0,
  });
  const { loadMs } = generation.limits;
  const timer = setTimeout(
    () => {
      resolve([bundleIssue(generation, 'limit', `did not load within ${loadMs} ms`)]);
    },
    loadMs * generation.scripts.length + START_ALLOWANCE_MS,
  );
  const issues = await promise;
  clearTimeout(timer);
  child.kill();
  return issues;
}

/** An issue that cannot be laid on one line: it names the only script, or the bundle. */
export function bundleIssue(generation: Generation, kind: string, message: string): ScriptIssue {
  const only = generation.scripts.length === 1 ? generation.scripts[0] : undefined;
  const place = { script: only?.name ?? '', file: only?.file ?? 'bundle' };
  return { ...place, line: 0, column: 0, kind, message };
}

/** A refusal always has a reason: an empty list would read as success. */
const nonEmpty = (
  issues: readonly ScriptIssue[],
  generation: Generation,
): readonly ScriptIssue[] =>
  issues.length > 0 ? issues : [bundleIssue(generation, 'load', 'did not load, without a reason')];

export function describeExit({ code, signal, protocolError }: ChildExit): string {
  if (protocolError !== undefined)
    return `the script host broke the protocol: ${protocolError.message}`;
  return `the script host ended while loading (${signal ?? `exit code ${code}`})`;
}
