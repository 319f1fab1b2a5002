/** The command line as a process of its own. */
const MAIN = `${import.meta.dir}/../../../src/gateway/main.ts`;

export interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs commands in a folder; `input` is what they read, `env` is added to the environment. */
export const culvertIn =
  (folder: string, input = '', env: Readonly<Record<string, string>> = {}) =>
  async (...args: readonly string[]): Promise<Ended> => {
    const child = Bun.spawn([process.execPath, MAIN, ...args], {
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
