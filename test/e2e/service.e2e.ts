/**
 * The compiled binary as a service manager sees it: what it is told, when the gateway ends and with
 * which code, and a gateway that is not root.
 *
 *   service manager                 gw
 *     datagram socket ◄─ READY … ── [ culvert run ] ── culvert0
 *     signals, exit codes ────────►
 */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { chmodSync, chownSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Subprocess } from 'bun';
import { DatagramReceiver } from '../support/datagram-receiver.ts';
import { culvertBinary } from '../support/gateway.ts';
import { Topology } from '../support/netns.ts';
import { scratchFolder } from '../support/scratch.ts';
import { waitFor } from '../support/wait.ts';

const SCRIPT = 'export default { flow() { return undefined; } };';
const CONFIG = `device: {name: culvert0, addresses: [10.88.0.1/24]}
scripts: {load: [route.ts]}
log: {level: debug}
drain: 500ms
`;
/** Of nobody on this machine. */
const UID = 64_123;
const CAPABILITIES = '+net_admin,+net_raw,+net_bind_service';
/** A host of systemd lets everybody open the device; this machine may not. */
const OPEN_TUN = 'mknod -m 666 tun c 10 200; mount --bind tun /dev/net/tun; exec "$@"';
/** How the unit starts it: another user, with ambient capabilities. */
const AS_USER = [
  ...['unshare', '--mount', 'sh', '-c', OPEN_TUN, 'sh'],
  ...['setpriv', `--reuid=${UID}`, `--regid=${UID}`, '--clear-groups', '--no-new-privs'],
  ...[`--inh-caps=${CAPABILITIES}`, `--ambient-caps=${CAPABILITIES}`],
  `--bounding-set=-all,${CAPABILITIES}`,
];

let topology: Topology;
let folder: string;
let receiver: DatagramReceiver;
let socket: string;

beforeEach(() => {
  topology = Topology.create();
  folder = scratchFolder('service');
  writeFileSync(join(folder, 'route.ts'), SCRIPT);
  writeFileSync(join(folder, 'config.yaml'), CONFIG);
  socket = join(folder, 'notify.sock');
  receiver = new DatagramReceiver(socket);
});
afterEach(async () => {
  receiver[Symbol.dispose]();
  await topology[Symbol.asyncDispose]();
});

interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  readonly prefix?: readonly string[];
}

function start({ env, args = [], prefix = [] }: StartOptions = {}) {
  const run = [culvertBinary(), 'run', '-c', 'config.yaml', '-D', '.', '--admin', './admin.sock'];
  return topology.spawn(topology.gw, [...prefix, ...run, ...args], {
    cwd: folder,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', NOTIFY_SOCKET: socket, ...env },
  });
}

/** The next datagram that has this assignment; those before it are forgotten. */
async function told(name: string, value = '1'): Promise<Record<string, string>> {
  return waitFor(
    `${name}=${value}`,
    () => {
      for (let message = receiver.take(); message !== undefined; message = receiver.take()) {
        if (message[name] === value) return message;
      }
      return undefined;
    },
    20_000,
  );
}

async function ended(child: Subprocess, withinMs = 10_000): Promise<number> {
  const timer = setTimeout(() => child.kill('SIGKILL'), withinMs);
  const code = await child.exited;
  clearTimeout(timer);
  return code;
}

describe('a service manager', () => {
  test('is told of the start, of a reload, of the end; the watchdog is fed', async () => {
    const child = start({ env: { WATCHDOG_USEC: '200000' } });
    expect(await told('READY')).toMatchObject({
      MAINPID: String(child.pid),
      STATUS: 'running, 0 flows, generation 1',
    });
    await told('WATCHDOG');
    child.kill('SIGHUP');
    const reloading = await told('RELOADING');
    expect(Number(reloading['MONOTONIC_USEC'])).toBeGreaterThan(0);
    await told('READY');
    child.kill('SIGTERM');
    expect(await told('STOPPING')).toMatchObject({ EXTEND_TIMEOUT_USEC: '5500000' });
    expect(await ended(child)).toBe(0);
  });

  test('hears which change a reload refuses, and the gateway goes on as it was', async () => {
    const child = start();
    await told('READY');
    writeFileSync(join(folder, 'config.yaml'), CONFIG.replace('culvert0,', 'culvert0, queues: 2,'));
    child.kill('SIGUSR1');
    await told('RELOADING');
    const done = await told('READY');
    expect(done['STATUS']).toStartWith('reload failed, running, 0 flows');
    expect(done['STATUS']).toContain('config.yaml:1:34: device.queues: needs a restart');
    const metrics = await fetch('http://x/metrics', { unix: join(folder, 'admin.sock') });
    expect(await metrics.text()).toContain('culvert_config_last_reload_successful 0');
    child.kill('SIGTERM');
    expect(await ended(child)).toBe(0);
  });

  test('does not hear that all is well while the data plane is down', async () => {
    const child = start({ env: { WATCHDOG_USEC: '400000' } });
    await told('WATCHDOG');
    const planes = () =>
      Bun.spawnSync(['pgrep', '-P', String(child.pid), '-f', '__data-plane']).stdout.toString();
    process.kill(Number(planes().trim()), 'SIGSTOP');
    // It is found stuck by its loop, killed and replaced; the watchdog waits meanwhile.
    await waitFor('another data plane', () => planes().trim() !== '', 20_000);
    await told('WATCHDOG');
    child.kill('SIGTERM');
    expect(await ended(child)).toBeOneOf([0, 3]);
  }, 30_000);
});

/** A gateway with a flow that keeps its drain from being over at once. */
async function startWithFlow(drain: string) {
  writeFileSync(join(folder, 'config.yaml'), CONFIG.replace('500ms', drain));
  writeFileSync(
    join(folder, 'route.ts'),
    'import { claim } from "culvert";\n' +
      'export default { flow: () => claim(), connect: () => new Promise(() => {}) };',
  );
  const child = start();
  await told('READY');
  topology.ip(topology.gw, 'route add 203.0.113.0/24 dev culvert0');
  const holder = topology.spawn(
    topology.gw,
    [...['bash', '-c', 'exec 3<>/dev/tcp/203.0.113.9/80; echo open; sleep 60']],
    { cwd: folder, env: { PATH: '/usr/bin:/bin' } },
  );
  await holder.stdout.getReader().read();
  return { child, holder };
}

describe('the end', () => {
  test('of a config that is wrong has code 1, which a unit does not restart', async () => {
    writeFileSync(join(folder, 'config.yaml'), 'devise: {}');
    expect(await ended(start())).toBe(1);
  });

  test('of one that ran and has lost its device has code 7, which a unit restarts', async () => {
    const text = CONFIG.replace('culvert0,', 'culvert0, recreate: false,');
    writeFileSync(join(folder, 'config.yaml'), text);
    const child = start();
    await told('READY');
    topology.ip(topology.gw, 'link del culvert0');
    expect(await ended(child)).toBe(7);
  });

  test('by a second signal has code 2, and does not wait', async () => {
    const { child, holder } = await startWithFlow('1h');
    child.kill('SIGTERM');
    await told('STOPPING');
    child.kill('SIGINT');
    expect(await ended(child)).toBe(2);
    holder.kill();
  });

  test('by a signal to all processes of a service is a drain all the same', async () => {
    const { child, holder } = await startWithFlow('1s');
    const children = Bun.spawnSync(['pgrep', '-P', String(child.pid)]).stdout.toString();
    const pids = children.trim().split('\n').map(Number);
    expect(pids.length).toBeGreaterThan(1);
    for (const pid of [...pids, child.pid]) process.kill(pid, 'SIGTERM');
    // The flow was there until the drain was over, and had to be cut then.
    expect(await ended(child)).toBe(3);
    holder.kill();
  });

  test('comes with the end of who holds the exit pipe', async () => {
    const child = Bun.spawn(
      [
        ...['sh', '-c', 'mkfifo exit; exec 9<>exit; "$@" 8<exit 9>&- & echo $!; read wait', 'sh'],
        ...['ip', 'netns', 'exec', topology.gw, culvertBinary(), 'run', '-c', 'config.yaml'],
        ...['-D', '.', '--admin', './admin.sock', '--exit-fd', '8'],
      ],
      { cwd: folder, env: { PATH: process.env['PATH'], NOTIFY_SOCKET: socket }, stdin: 'pipe' },
    );
    const pid = (await told('READY'))['MAINPID'];
    child.stdin.end();
    await told('STOPPING');
    await waitFor('the end of the gateway', () => !existsSync(`/proc/${pid}`), 10_000);
  });
});

test('as another user with ambient capabilities it serves; its script host has none', async () => {
  for (const name of ['', 'route.ts', 'config.yaml', 'notify.sock']) {
    chownSync(join(folder, name), UID, UID);
  }
  chmodSync(dirname(culvertBinary()), 0o755);
  const child = start({ prefix: AS_USER, args: ['--auto-route'] });
  const ready = await told('READY');
  const pid = Number(ready['MAINPID']);
  expect(status(pid, 'Uid')).toBe(String(UID));
  const rules = topology.ip(topology.gw, 'rule show');
  expect(rules).toContain('7102:');
  const hosts = Bun.spawnSync(['pgrep', '-P', String(pid), '-f', '__script-host']).stdout;
  const host = Number(hosts.toString().trim());
  expect(status(host, 'CapEff')).toBe('0000000000000000');
  expect(status(host, 'CapAmb')).toBe('0000000000000000');
  expect(status(host, 'NoNewPrivs')).toBe('1');
  process.kill(pid, 'SIGTERM');
  expect(await ended(child)).toBe(0);
  expect(topology.ip(topology.gw, 'rule show')).not.toContain('7102:');
});

/** The first value of a line of /proc/PID/status. */
const status = (pid: number, name: string): string | undefined =>
  new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
