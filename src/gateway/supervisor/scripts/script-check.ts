/** Loads a bundle in a process that is thrown away, so that nothing it does can matter. */
import type { ScriptIssue } from '../../messages/script-control.ts';
import { Aside } from './aside.ts';
import type { BundleContent, Generation } from './generation.ts';

/** A bundle that belongs to no gateway. */
export const unnumbered = (content: BundleContent): Generation => ({
  ...content,
  ...{ number: 1, hash: '', origin: 'start', createdAt: 0 },
});

/** Checks scripts that belong to no gateway. */
export const tryScripts = (content: BundleContent, iface: string) =>
  checkScripts(unnumbered(content), iface);

/**
 * What is wrong with the scripts of a generation; nothing wrong is an empty list.
 *
 * @param iface  name of the device, as scripts will see it
 * @throws ScriptHostError  when the machine did not get to it
 */
export async function checkScripts(
  generation: Generation,
  iface: string,
  command?: readonly string[],
): Promise<readonly ScriptIssue[]> {
  const loaded = await Aside.load(generation, { iface, command });
  if (!(loaded instanceof Aside)) return loaded;
  loaded.close();
  return [];
}
