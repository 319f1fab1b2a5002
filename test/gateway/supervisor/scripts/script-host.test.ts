import { afterEach, describe, expect, test } from 'bun:test';
import { openSync } from 'node:fs';
import type { ScriptsState } from '../../../../src/gateway/messages/control.ts';
import {
  HEARTBEAT_BYTES,
  HeartbeatField,
} from '../../../../src/gateway/messages/script-control.ts';
import { ScriptHostError } from '../../../../src/gateway/supervisor/scripts/change-errors.ts';
import type { Generation } from '../../../../src/gateway/supervisor/scripts/generation.ts';
import { checkScripts } from '../../../../src/gateway/supervisor/scripts/script-check.ts';
import { ScriptHost } from '../../../../src/gateway/supervisor/scripts/script-host.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../../src/scripts-runtime/limits.ts';
import { fakeCommand, rememberingLog, told, until } from '../support.ts';

const devNull = openSync('/dev/null', 'r');
const hosts: ScriptHost[] = [];
afterEach(async () => {
  await Promise.all(hosts.splice(0).map((host) => host.stop()));
});

const bundle = (number: number, source: string, limits = {}): Generation => ({
  number,
  hash: source,
  origin: 'api',
  createdAt: 0,
  scripts: source === '' ? [] : [{ name: 'a', file: 'a.ts', source }],
  vars: {},
  limits: { ...DEFAULT_SCRIPT_LIMITS, ...limits },
});

function setUp() {
  const states: ScriptsState[] = [];
  const { lines, log } = rememberingLog();
  const page = () => ({ fd: devNull, view: new DataView(new ArrayBuffer(HEARTBEAT_BYTES)) });
  const pages = [page(), page()] as const;
  const heartbeat = pages[0].view;
  const clock = { us: 1_000_000 };
  const descriptors: number[] = [];
  const host = new ScriptHost({
    log,
    fds: () => descriptors,
    pages,
    iface: () => 'x0',
    monotonicUs: () => clock.us,
    onState: (state) => states.push(state),
    hostCommand: fakeCommand(),
    checkCommand: fakeCommand(),
    busyAllowanceMs: 0,
  });
  hosts.push(host);
  /** What the host got with each load. */
  const loads = () => told(lines, 'load');
  return { host, states, lines, loads, heartbeat, pages, clock, descriptors };
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('a bundle', () => {
  test('is up in a new host; an empty one ends the host', async () => {
    const { host, states } = setUp();
    expect(await host.activate(bundle(1, 'fine'))).toEqual([]);
    expect(host.pid).toBeNumber();
    await host.activate(bundle(2, ''));
    expect(states).toEqual([
      { state: 'up', epoch: 1 },
      { state: 'none', epoch: 1 },
    ]);
    expect(host.pid).toBeUndefined();
  });

  test('that is refused leaves the one before in the same host', async () => {
    const { host, states } = setUp();
    await host.activate(bundle(1, 'fine'));
    const { pid } = host;
    expect(await host.activate(bundle(2, 'refuse'))).toMatchObject([
      { line: 1, column: 2, message: 'refused' },
    ]);
    expect(host.pid).toBe(pid as number);
    expect(states).toEqual([{ state: 'up', epoch: 1 }]);
  });

  test('that is refused where nothing ran before leaves no host', async () => {
    const { host, states } = setUp();
    expect(await host.activate(bundle(1, 'refuse'))).toHaveLength(1);
    expect(host.state).toBe('idle');
    expect(states.at(-1)?.state).toBe('none');
  });

  test('that kills its host is refused, and the one before comes back', async () => {
    const { host, states, loads } = setUp();
    await host.activate(bundle(1, 'fine'));
    const [issue] = await host.activate(bundle(2, 'die'));
    expect(issue).toMatchObject({ script: 'a', file: 'a.ts' });
    expect(issue?.message).toContain('exit code 3');
    await until(() => states.at(-1)?.state === 'up', 'the old bundle');
    expect(states).toEqual([
      { state: 'up', epoch: 1 },
      { state: 'down', epoch: 2 },
      { state: 'up', epoch: 3 },
    ]);
    // Once where another bundle ran, which tells nothing about it, and once alone.
    expect(loads().map((load) => load['generation'])).toEqual([1, 2, 2, 1]);
  });

  test('that a busy host does not confirm is loaded by a new one, which takes over', async () => {
    const { host, states, loads } = setUp();
    await host.activate(bundle(1, 'fine'));
    const { pid } = host;
    expect(await host.activate(bundle(2, 'late', { loadMs: 50 }))).toEqual([]);
    expect(host.pid).not.toBe(pid as number);
    await until(() => !isAlive(pid as number), 'the end of the old host');
    // The data plane never heard of a host that was down.
    expect(states).toEqual([
      { state: 'up', epoch: 1 },
      { state: 'up', epoch: 2 },
    ]);
    expect(loads().map((load) => [load['epoch'], load['generation']])).toEqual([
      [1, 1],
      [1, 2],
      [2, 2],
    ]);
    expect(host.ends.sums.crash).toBe(0);
  });

  test('that is refused by the new host never becomes active in the busy one', async () => {
    const { host, states, loads } = setUp();
    await host.activate(bundle(1, 'fine'));
    const { pid } = host;
    expect(await host.activate(bundle(2, 'sly', { loadMs: 50 }))).toMatchObject([
      { message: 'refused' },
    ]);
    // The old host may still take the bundle that it was given, so it is replaced.
    await until(() => states.at(-1)?.state === 'up' && host.pid !== pid, 'the first bundle');
    expect(loads().at(-1)).toMatchObject({ generation: 1 });
    await until(() => !isAlive(pid as number), 'the end of the old host');
  });

  test('that no host could load on a busy machine is not to blame; nothing changes', async () => {
    const { host, states } = setUp();
    await host.activate(bundle(1, 'fine'));
    const { pid } = host;
    await expect(
      host.check(bundle(2, 'hang', { loadMs: 1000 }), bundle(1, 'fine')),
    ).rejects.toThrow(ScriptHostError);
    await expect(host.activate(bundle(2, 'hang', { loadMs: 10 }))).rejects.toThrow(ScriptHostError);
    await until(() => host.pid !== undefined && host.pid !== pid, 'a host that is certain');
    expect(states.map(({ state }) => state)).toEqual(['up', 'up']);
  }, 20_000);

  test('on trial that takes over when it was given up does not stay', async () => {
    const { host, loads } = setUp();
    await host.activate(bundle(1, 'fine'));
    const { pid } = host;
    const canary = { mode: 'canary', share: 1, errors: 1, windowMs: 1000, forMs: 0 } as const;
    expect(await host.loadCanary(bundle(2, 'fine'), canary)).toEqual([]);
    expect(await host.promoteCanary(bundle(2, 'fine'))).toBe(false);
    await until(() => host.pid !== undefined && host.pid !== pid, 'a host with the first bundle');
    expect(loads().map((load) => load['generation'])).toEqual([1, 2, 1]);
    await until(() => !isAlive(pid as number), 'the end of the old host');
  }, 20_000);

  test('that works for too long while it is checked is to blame', async () => {
    const issues = await checkScripts(bundle(1, 'burn', { loadMs: 10 }), 'x0', fakeCommand());
    expect(issues).toMatchObject([{ kind: 'limit', message: 'did not load within 10 ms' }]);
  }, 20_000);

  test('that is too long for a message is refused before any process sees it', async () => {
    const huge = { ...bundle(1, 'fine'), vars: { x: '\u0001'.repeat(3 * 1024 * 1024) } };
    const issues = await checkScripts(huge, 'x0', ['/nonexistent']);
    expect(issues).toMatchObject([{ kind: 'limit', message: expect.stringContaining('bytes') }]);
  });

  test('is checked in a process of its own', async () => {
    expect(await checkScripts(bundle(1, 'fine'), 'x0', fakeCommand())).toEqual([]);
    expect(await checkScripts(bundle(1, 'refuse'), 'x0', fakeCommand())).toMatchObject([
      { line: 1 },
    ]);
    expect(await checkScripts(bundle(1, 'fine'), 'x0', fakeCommand('crash'))).toMatchObject([
      { file: 'a.ts', message: expect.stringContaining('exit code 4') },
    ]);
    expect(await checkScripts(bundle(1, 'fine'), 'x0', fakeCommand('garbage'))).toMatchObject([
      { message: expect.stringContaining('impossible frame') },
    ]);
  });
});

describe('a host', () => {
  test('that is killed from outside comes back with the KV', async () => {
    const { host, states, loads } = setUp();
    await host.activate(bundle(1, 'kv'));
    const pid = host.pid as number;
    process.kill(pid, 'SIGKILL');
    await until(() => states.at(-1)?.epoch === 2 && states.at(-1)?.state === 'up', 'the next host');
    expect(host.pid).not.toBe(pid);
    expect(loads().map((line) => line['kv'])).toEqual([0, 1]);
    expect(host.ends.sums).toEqual({ cpu: 0, wall: 0, crash: 1, socket: 0 });
  });

  test('may tell what scripts write that are no more, until they have drained', async () => {
    const { host, lines } = setUp();
    await host.activate(bundle(1, 'fine'));
    const next = bundle(2, 'drains');
    const renamed = next.scripts.map((script) => ({ ...script, name: 'b' }));
    expect(await host.activate({ ...next, scripts: renamed })).toEqual([]);
    await until(() => told(lines, 'drained').length > 0, 'the end of the drain');
    const refused = lines.filter(({ msg }) => msg === 'kv-journal-refused');
    expect(refused).toMatchObject([{ script: 'a' }]);
  });

  test('that stays inside a script is killed, and the data plane is told at once', async () => {
    const { host, states, lines, heartbeat, clock } = setUp();
    await host.activate(bundle(1, 'fine'));
    heartbeat.setUint32(HeartbeatField.GENERATION, 1, true);
    heartbeat.setFloat64(HeartbeatField.BUSY_SINCE, clock.us, true);
    await Bun.sleep(60);
    expect(states).toHaveLength(1);
    clock.us += 2_500_000;
    await until(() => states.at(-1)?.state === 'down', 'the kill');
    await until(() => states.at(-1)?.state === 'up', 'the next host');
    expect(host.ends.sums.wall).toBe(1);
    expect(host.ends.all.get('a')?.wall).toBe(1);
    expect(lines.find((line) => line.msg === 'script-host-killed')).toMatchObject({
      script: 'a',
      kind: 'wall',
    });
  });

  test('that is killed too often comes back with the script disabled, until a change', async () => {
    const { host, states, heartbeat, clock } = setUp();
    await host.activate(bundle(1, 'fine', { breakerHits: 1 }));
    heartbeat.setUint32(HeartbeatField.GENERATION, 1, true);
    heartbeat.setFloat64(HeartbeatField.BUSY_SINCE, clock.us, true);
    await Bun.sleep(60);
    clock.us += 2_500_000;
    await until(() => states.at(-1)?.epoch === 2 && states.at(-1)?.state === 'up', 'the next host');
    expect(host.disabled).toEqual(['a']);
    await host.activate(bundle(2, 'fine'));
    expect(host.disabled).toEqual([]);
  });

  test('that crashes too often comes back without the script that was entered last', async () => {
    const { host, states, lines, pages } = setUp();
    await host.activate(bundle(1, 'fine', { breakerHits: 2 }));
    for (let crash = 1; crash <= 2; crash++) {
      for (const { view } of pages) view.setUint32(HeartbeatField.GENERATION, 1, true);
      process.kill(host.pid as number, 'SIGKILL');
      await until(() => states.length === 1 + 2 * crash, 'the next host');
      expect(host.disabled).toEqual(crash === 2 ? ['a'] : []);
    }
    expect(lines.filter((line) => line.msg === 'script-host-exited')).toMatchObject([
      { script: 'a', signal: 'SIGKILL' },
      { script: 'a', signal: 'SIGKILL' },
    ]);
    expect(lines.map((line) => line.msg)).toContain('script-disabled');
  });

  test('that has shut a socket is killed as one that crashed, and comes back', async () => {
    const { host, states, lines, pages } = setUp();
    await host.activate(bundle(1, 'fine', { breakerHits: 1 }));
    const pid = host.pid as number;
    for (const { view } of pages) view.setUint32(HeartbeatField.GENERATION, 1, true);
    host.socketShut();
    expect(states.at(-1)).toEqual({ state: 'down', epoch: 2 });
    await until(() => states.at(-1)?.state === 'up', 'the next host');
    expect(host.pid).not.toBe(pid);
    await until(() => !isAlive(pid), 'the end of the old host');
    expect(host.ends.sums).toEqual({ cpu: 0, wall: 0, crash: 0, socket: 1 });
    const kills = lines.filter((line) => line.msg === 'script-host-killed');
    expect(kills).toMatchObject([{ script: 'a', kind: 'socket', pid }]);
    expect(host.disabled).toEqual(['a']);
  });

  test('that is loading when a socket is shut is not to blame, nor its bundle', async () => {
    const { host, states, loads } = setUp();
    await host.activate(bundle(1, 'fine'));
    const change = host.activate(bundle(2, 'hang', { loadMs: 10 }));
    await until(() => loads().length === 3, 'a host that has only this to load');
    host.socketShut();
    await expect(change).rejects.toThrow(ScriptHostError);
    await until(() => states.at(-1)?.state === 'up' && states.length > 1, 'the first bundle');
    expect(loads().at(-1)).toMatchObject({ generation: 1 });
    expect(host.ends.sums.socket).toBe(2);
  });

  test('that is not there when a socket is shut comes when there is a bundle', async () => {
    const { host, states } = setUp();
    host.socketShut();
    expect([states, host.state]).toEqual([[], 'idle']);
    expect(await host.activate(bundle(1, 'fine'))).toEqual([]);
    expect(host.ends.sums.socket).toBe(0);
  });

  test('gets other sockets than the one before where they are others', async () => {
    const { host, states, descriptors, lines } = setUp();
    await host.activate(bundle(1, 'fds'));
    descriptors.push(devNull, devNull);
    host.socketShut();
    await until(() => states.length === 3, 'the next host');
    expect(told(lines, 'fds').map((line) => line['queues'])).toEqual(['0', '1']);
  });

  test('knows nothing of the environment', async () => {
    const { host, lines } = setUp();
    process.env['CULVERT_ADMIN_TOKEN'] = 'secret';
    await host.activate(bundle(1, 'env'));
    delete process.env['CULVERT_ADMIN_TOKEN'];
    await until(() => told(lines, 'env').length === 1, 'the names');
    expect(told(lines, 'env')[0]?.['names']).not.toContain('CULVERT_ADMIN_TOKEN');
    expect(told(lines, 'env')[0]?.['names']).not.toContain('PATH');
  });

  test('gets names resolved', async () => {
    const { host, lines } = setUp();
    await host.activate(bundle(1, 'ask'));
    await until(() => told(lines, 'resolved').length === 1, 'the answer');
    expect(told(lines, 'resolved')[0]).toMatchObject({ id: 7 });
    expect(JSON.stringify(told(lines, 'resolved'))).toMatch(/127\.0\.0\.1|::1/);
  });
});
