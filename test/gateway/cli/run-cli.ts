/** The command line as a process of its own: the compiled binary, which starts much faster. */
import { join } from 'node:path';

const ROOT = join(import.meta.dir, '../../..');
const BINARY = join(ROOT, 'dist/culvert');

export interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const { exitCode, stderr } = Bun.spawnSync([
  process.execPath,
  join(ROOT, 'build/ensure-binary.mjs'),
]);
if (exitCode !== 0) throw new Error(stderr.toString());

/** Runs commands in a folder; `input` is what they read, `env` is added to the environment. */
export const culvertIn =
  (folder: string, input = '', env: Readonly<Record<string, string>> = {}) =>
  async (...args: readonly string[]): Promise<Ended> => {
    const child = Bun.spawn([BINARY, ...args], {
      cwd: folder,
      env: { ...process.env, ...env },
      stdin: new TextEncoder().encode(input),
      stdout: 'pipe',
      stderr: 'pipe',
    });
    const [out, err, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { code, out, err };
  };
