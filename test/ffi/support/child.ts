import { join } from 'node:path';

/**
 * Runs a script of this folder in a process of its own, for what cannot be undone in ours.
 *
 * @returns what it printed, which must be one JSON value
 */
export async function runChild(
  script: string,
  args: readonly string[] = [],
  inherited: readonly number[] = [],
): Promise<unknown> {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, script), ...args], {
    stdio: ['ignore', 'pipe', 'pipe', ...inherited],
  });
  const [output, errors, code] = await Promise.all([
    new Response(child.stdout as ReadableStream).text(),
    new Response(child.stderr as ReadableStream).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`${script} ended with ${code}: ${errors}`);
  return JSON.parse(output);
}
