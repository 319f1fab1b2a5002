/** What a process that runs scripts may still do, thread by thread, as the kernel sees it. */
import { describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { command, HostProcess } from './host-process.ts';

const NOBODY = '65534\t65534\t65534\t65534';
const NO_CAPABILITIES = '0000000000000000';
/** Any user that is neither root nor nobody. */
const OTHER_UID = 64_321;
const isRoot = process.geteuid?.() === 0;

if (!isRoot) console.warn('SKIPPED: tests of confine that need root (other users, capabilities)');

const fieldOf = (status: string, name: string): string | undefined =>
  new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1];

/** /proc/PID/task/TID/status of each thread. */
const threadsOf = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/task`).map((tid) =>
    readFileSync(`/proc/${pid}/task/${tid}/status`, 'utf8'),
  );

/** The runtime has threads of its own before our first line runs. */
function expectConfined(pid: number): void {
  const threads = threadsOf(pid);
  expect(threads.length).toBeGreaterThan(1);
  for (const status of threads) {
    expect(fieldOf(status, 'NoNewPrivs')).toBe('1');
    for (const set of ['CapEff', 'CapPrm', 'CapAmb']) {
      expect(`${set} ${fieldOf(status, set)}`).toBe(`${set} ${NO_CAPABILITIES}`);
    }
    expect(fieldOf(status, 'Uid')?.split('\t')).not.toContain('0');
  }
}

test('a host has few descriptors and no environment, and ends with the supervisor', async () => {
  await using host = new HostProcess();
  await host.message((m) => m.kind === 'ready');
  const limits = readFileSync(`/proc/${host.pid}/limits`, 'utf8');
  expect(limits).toMatch(/Max core file size\s+0\s+0/);
  expect(limits).toMatch(/Max open files\s+128\s+128/);
  expect(readFileSync(`/proc/${host.pid}/environ`, 'utf8')).toBe('');
  expect(await host.hangUp()).toBe(0);
});

describe.skipIf(!isRoot)('as root', () => {
  test('every thread of a host is of nobody, without capabilities and a way to more', async () => {
    await using host = new HostProcess();
    await host.message((m) => m.kind === 'ready');
    expectConfined(host.pid);
    for (const status of threadsOf(host.pid)) {
      expect(fieldOf(status, 'Uid')).toBe(NOBODY);
      expect(fieldOf(status, 'Gid')).toBe(NOBODY);
      // What a change of user needs is left in the bounding set, of no use without privileges.
      expect(Number.parseInt(fieldOf(status, 'CapBnd') ?? '', 16) & ~0b1100_0110).toBe(0);
    }
    expect(readFileSync(`/proc/${host.pid}/limits`, 'utf8')).toMatch(/Max processes\s+2048\s+2048/);
  });

  test('every thread of a check is confined too', async () => {
    const child = Bun.spawn(command('__script-check'), { stdio: ['pipe', 'pipe', 'inherit'] });
    try {
      await until(() => fieldOf(threadsOf(child.pid)[0] ?? '', 'Uid') === NOBODY);
      expectConfined(child.pid);
    } finally {
      child.kill('SIGKILL');
      await child.exited;
    }
  });

  test('a host of a user with ambient capabilities loses them in every thread', async () => {
    const capabilities = '+net_admin,+setuid,+setgid';
    await using host = new HostProcess(1, [
      'setpriv',
      `--reuid=${OTHER_UID}`,
      `--regid=${OTHER_UID}`,
      '--clear-groups',
      `--inh-caps=${capabilities}`,
      `--ambient-caps=${capabilities}`,
    ]);
    await host.message((m) => m.kind === 'ready');
    expectConfined(host.pid);
    for (const status of threadsOf(host.pid)) {
      expect(fieldOf(status, 'Uid')).toStartWith(`${OTHER_UID}\t`);
    }
  });
});

test('the mark of a process that was started over is believed only of one that was', async () => {
  const child = Bun.spawn([...command('__script-check'), 'confined'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const errors = await new Response(child.stderr).text();
  expect(await child.exited).not.toBe(0);
  expect(errors).toContain('is for the supervisor to start');
});

const DEADLINE_MS = 5000;

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('waited in vain');
    await Bun.sleep(5);
  }
}
