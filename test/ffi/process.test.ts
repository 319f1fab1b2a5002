import { describe, expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { effectiveUid, peerCredentials, peerGroups } from '../../src/ffi/process.ts';
import { closeFd, socketPair } from '../../src/ffi/sockets.ts';
import { runChild } from './support/child.ts';
import { isRoot } from './support/namespace.ts';

const DEADLINE_MS = 5000;

/** Gone, or a zombie that nobody has waited for yet. */
function hasEnded(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return true;
  return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.startsWith('Z') ?? true;
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('waited in vain');
    await Bun.sleep(5);
  }
}

describe.skipIf(!isRoot)('dropPrivileges as root', () => {
  test('leaves no user, group, capability or way back', async () => {
    expect(await runChild('drop-privileges-child.ts')).toEqual({
      effectiveUid: 65534,
      uid: '65534\t65534\t65534\t65534',
      gid: '65534\t65534\t65534\t65534',
      groups: '',
      capabilities: ['0000000000000000', '0000000000000000', '0000000000000000'],
      noNewPrivileges: '1',
      tun: expect.stringMatching(/^(EPERM|EACCES)$/),
    });
  });
});

test('limits are raised to the hard one and then lowered for good', async () => {
  const child = (await runChild('limits-child.ts')) as {
    readonly raised: number;
    readonly openFilesRaised: readonly string[];
  };
  expect(child).toMatchObject({
    addressSpace: [String(2 ** 47), String(2 ** 47)],
    openFiles: ['64', '64'],
    core: ['0', '0'],
    processes: ['4000', '4000'],
  });
  expect(child.openFilesRaised).toEqual([String(child.raised), String(child.raised)]);
});

test('leaveSignalsToParent: those that mean something to a gateway do nothing', async () =>
  expect(await runChild('ignored-signals-child.ts')).toEqual(Array(6).fill(true)));

test('dieWithParent: a child goes when its parent is killed', async () => {
  const parent = Bun.spawn(
    [process.execPath, join(import.meta.dir, 'support/die-with-parent-child.ts')],
    { stdout: 'pipe' },
  );
  const { value } = await parent.stdout.getReader().read();
  const child = Number(new TextDecoder().decode(value));
  expect(child).toBeGreaterThan(1);
  expect(hasEnded(child)).toBe(false);
  parent.kill('SIGKILL');
  await parent.exited;
  await until(() => hasEnded(child));
});

test('peerCredentials tells who made the other end', () => {
  const [left, right] = socketPair('seqpacket');
  expect(peerCredentials(left)).toEqual({
    pid: process.pid,
    uid: effectiveUid(),
    gid: process.getegid?.() ?? -1,
  });
  closeFd(left);
  closeFd(right);
  expect(() => peerCredentials(left)).toThrow(`getsockopt(SO_PEERCRED) on fd ${left}: EBADF`);
});

test('peerGroups tells the supplementary groups of who made the other end', () => {
  const [left, right] = socketPair('seqpacket');
  const own = process.getgroups?.() ?? [];
  expect(peerGroups(left)).toEqual(expect.arrayContaining(own.filter((id) => id !== 0)));
  closeFd(left);
  closeFd(right);
  expect(() => peerGroups(left)).toThrow(`getsockopt(SO_PEERGROUPS) on fd ${left}: EBADF`);
});
