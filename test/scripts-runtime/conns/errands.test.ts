/** Sockets that scripts open outside of claimed connections, for the call that they are in. */
import { expect, test } from 'bun:test';
import { describe } from '../script-world.ts';
import { type ConnOptions, ConnWorld } from './conn-world.ts';
import { FIRST_OWN } from './fake-carrier.ts';

/** A script around methods; `say` and `fails` as in `claiming`. */
const scriptOf = (methods: string, head = ''): string => `
import { claim, connect, forward, SocketError } from 'culvert';
const text = (bytes: any) => bytes && String.fromCharCode(...bytes);
const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));
const sayOf = (ctx: any) => (...all: any[]) => ctx.log.info(all.map(String).join(' '));
const failsOf = (say: any) => async (what: any) => {
  try { say('no error', JSON.stringify(await what())); }
  catch (e: any) { say(e.name, e.code ?? '-', e.message); }
};
${head}
export default {
  flow() { return forward(); },
  ${methods}
} as any;
`;

const scheduled = (body: string): string =>
  scriptOf(`async scheduled(event: any, env: any, ctx: any) {
    const say = sayOf(ctx); const fails = failsOf(say);
    ${body}
  },`);

const worldOf = (source: string, options?: ConnOptions) => ConnWorld.of(source, options);

test('scheduled(): a probe dials, talks, and closes in order', async () => {
  const world = await worldOf(
    scheduled(`const s = connect('10.0.0.1:80');
      const { remoteAddress } = await s.opened;
      await s.write('ping');
      say(remoteAddress, text(await s.read()), await s.read());
      await s.close();
      await s.closed; say('closed');`),
  );
  world.schedule();
  const [dial] = world.carrier.dials;
  expect(dial?.conn).toBeGreaterThanOrEqual(FIRST_OWN);
  const socket = world.dialed();
  const { conn } = dial!;
  expect(world.carrier.end(conn, socket).got).toBe('ping');
  world.send(conn, 'pong', socket);
  world.sendFin(conn, socket);
  expect(world.carrier.end(conn, socket)).toMatchObject({ gotFin: true, wasClosed: true });
  world.finish(conn, 'eof', socket);
  expect(world.lines).toEqual(['10.0.0.1:80 pong null', 'closed']);
  expect(world.ended).toEqual(['x']);
  expect(world.host.claims).toBe(0);
  expect(world.carrier.strays).toEqual([]);
});

test('flow(): a decision can ask somebody first', async () => {
  const world = await worldOf(
    scriptOf(`async flow(flow: any) {
      const s = connect('10.0.0.9:53');
      await s.write(flow.src.ip);
      return forward(text(await s.read()));
    },`),
  );
  const id = world.world.ask('192.0.2.1', 80);
  world.run();
  const socket = world.dialed();
  const { conn } = world.carrier.dials[0]!;
  expect(world.carrier.end(conn, socket).got).toBe('198.18.0.2');
  world.send(conn, '10.0.0.7:8080', socket);
  expect(describe(world.world.answers.get(id))).toBe('forward 10.0.0.7:8080');
  // The verdict was given, and nobody closed it: what was written arrives all the same.
  expect(world.carrier.end(conn, socket)).toMatchObject({ wasClosed: true, wasAborted: false });
});

test('flow(): a dial that is not awaited is given up with the verdict', async () => {
  const world = await worldOf(scriptOf(`flow() { connect('10.0.0.9:53'); return forward(); },`));
  expect(world.world.outcome()).toBe('forward');
  world.run();
  expect(world.carrier.givenUp).toHaveLength(1);
});

test('waitUntil() holds the sockets of a call whose promise is settled', async () => {
  const world = await worldOf(
    scriptOf(`flow(flow: any, env: any, ctx: any) {
      const say = sayOf(ctx);
      ctx.waitUntil((async () => {
        await sleep(100);
        const s = connect('10.0.0.9:514');
        await s.write('flow ' + flow.src.ip);
        await s.close();
        say('told');
      })());
      return forward();
    },`),
  );
  expect(world.world.outcome()).toBe('forward');
  world.advance(100);
  const socket = world.dialed();
  const { conn } = world.carrier.dials[0]!;
  expect(world.carrier.end(conn, socket)).toMatchObject({ got: 'flow 198.18.0.2', gotFin: true });
  expect(world.lines).toEqual(['told']);
});

test('load(): what it waits for can come from the network', async () => {
  const world = new ConnWorld();
  const loading = world.load(
    scriptOf(`async load(old: any, env: any, ctx: any) {
      const s = connect('10.0.0.9:80');
      sayOf(ctx)(text(await s.read()));
    },`),
  );
  for (let i = 0; i < 1000 && world.carrier.dials.length === 0; i++) {
    await Bun.sleep(1);
    world.run();
  }
  const socket = world.dialed();
  world.send(world.carrier.dials[0]!.conn, 'warm', socket);
  await loading;
  expect(world.lines).toEqual(['warm']);
});

test('closed(): tells somebody of a flow that has ended', async () => {
  const world = await worldOf(
    scriptOf(`async closed(flow: any, result: any) {
      const s = connect('10.0.0.9:514');
      await s.write(flow.id + ' ' + result.bytesUp);
      await s.close();
    },`),
  );
  const flow = {
    flow: 9,
    protocol: 'tcp',
    source: { ip: '10.0.0.5', port: 1, family: 4 },
    destination: { ip: '10.0.0.6', port: 2, family: 4 },
  } as const;
  const result = { bytesUp: 7, bytesDown: 0, durationMs: 1, reason: 'eof' };
  world.host.closed([{ script: 'a', generation: 1, flow, result }]);
  world.run();
  const socket = world.dialed();
  expect(world.carrier.end(world.carrier.dials[0]!.conn, socket).got).toBe('9 7');
});

test('the call has a time: then its sockets end, and whoever waits for them hears so', async () => {
  const world = await worldOf(
    scheduled(`const s = connect('10.0.0.1:80'); await s.opened;
      await fails(() => s.read()); await fails(() => connect('10.0.0.1:81').opened);`),
    { limits: { waitMs: 500 } },
  );
  world.schedule('probe');
  const socket = world.dialed();
  const { conn } = world.carrier.dials[0]!;
  world.advance(499);
  expect(world.carrier.end(conn, socket).wasClosed).toBe(false);
  world.advance(1);
  expect(world.carrier.end(conn, socket).wasClosed).toBe(true);
  expect(world.lines).toEqual([
    'scheduled(probe): took too long, and is not waited for any more',
    'SocketError aborted the call that opened it is over',
    'SocketError aborted the call or connection that it is for has ended',
  ]);
  expect(world.carrier.dials).toHaveLength(1);
});

test('sockets of all calls of a script have one limit', async () => {
  const world = await worldOf(
    scheduled(`for (const port of [1, 2, 3]) {
        connect('10.0.0.1:' + port).opened.catch((e: any) => say(e.name, e.code, e.message));
      }
      await sleep(1000);`),
    { limits: { socketsOutside: 3 } },
  );
  world.schedule('a');
  expect(world.lines.filter((line) => line.startsWith('Sock'))).toEqual([]);
  world.schedule('b');
  expect(world.lines).toContain(
    'SocketError limit more than 3 sockets outside of connections (socketsOutside)',
  );
  expect(world.carrier.dials).toHaveLength(3);
  world.advance(1000);
  world.schedule('c');
  expect(world.carrier.dials).toHaveLength(6);
  world.advance(1000);
  expect(world.world.stats[0]?.limitHits).toMatchObject({ 'sockets-outside': 3 });
});

test('without a list, and to the gateway itself, the way is denied', async () => {
  const body = `await fails(() => connect('10.0.0.1:80').opened);
    await fails(() => connect('a.example:80').opened);`;
  const unlisted = await worldOf(scheduled(body), { allow: undefined });
  unlisted.schedule();
  expect(unlisted.lines).toEqual([
    'SocketError denied without "allow" there is nowhere to go without a client',
    'SocketError denied "allow" of the script does not have a.example port 80',
  ]);
  const listed = await worldOf(scheduled(body), { closed: ['10.0.0.1:80'] });
  listed.schedule();
  expect(listed.lines).toEqual(['SocketError denied 10.0.0.1 port 80 is the gateway itself']);
});

test('options about a client are refused where there is none', async () => {
  const world = await worldOf(
    scheduled(`await fails(() => connect('10.0.0.1:80', { proxyProtocol: 1 }).opened);
      await fails(() => connect('10.0.0.1:80', { into: 'tun' }).opened);
      const s = connect('10.0.0.1:80', { bind: '10.0.0.2', mark: 7, connectTimeoutMs: 9 });`),
  );
  world.schedule();
  expect(world.lines).toEqual([
    'TypeError - connect(): proxyProtocol needs a client to tell of',
    'TypeError - connect(): into "tun" needs a connection that was claimed',
  ]);
  const { dial } = world.carrier.dials[0]!;
  expect(dial).toMatchObject({ bind: '10.0.0.2', mark: 7, timeoutMs: 9 });
});

test('at the top level, and in timers of a call that is over, nothing can be dialled', async () => {
  const world = await worldOf(
    scriptOf(
      `scheduled(event: any, env: any, ctx: any) {
        const fails = failsOf(sayOf(ctx));
        early.catch((e: any) => sayOf(ctx)('top', e.code));
        setTimeout(() => fails(() => connect('10.0.0.1:80').opened), 20);
      },`,
      `const early = connect('10.0.0.1:80').opened;`,
    ),
  );
  world.schedule();
  world.advance(20);
  expect(world.lines).toEqual([
    'top aborted',
    'SocketError aborted the call or connection that it is for has ended',
  ]);
  expect(world.carrier.dials).toEqual([]);
});

test('a call that has used up its processor time loses its sockets, and says so', async () => {
  const spin = 'const until = Date.now() + 25; while (Date.now() < until);';
  const world = await ConnWorld.of(
    scheduled(`const s = connect('10.0.0.1:80');
      s.closed.catch((e: any) => say(e.code, e.peer));
      for (let i = 0; i < 4; i++) { ${spin} await sleep(10); }
      await fails(() => connect('10.0.0.1:81').opened);`),
    { limits: { connCpuMs: 60, cpuSoftMs: 1000, cpuHardMs: 5000 } },
    true,
  );
  world.schedule('probe');
  for (let i = 0; i < 200 && world.ended.length === 0; i++) {
    await Bun.sleep(5);
    world.carrier.deliver();
    world.host.expire(performance.now() * 1000);
  }
  const message = 'more than 60 ms of processor time for one call that has sockets (connCpuMs)';
  expect(world.lines.toSorted()).toEqual(
    ['limit 10.0.0.1:80', message, `SocketError limit ${message}`].toSorted(),
  );
  expect(world.carrier.givenUp).toHaveLength(1);
});

test('a generation that was replaced keeps its sockets until its drain is over', async () => {
  const source = scheduled(`const s = connect('10.0.0.1:80'); await s.opened;
    await fails(() => s.read()); await fails(() => connect('10.0.0.1:81').opened);`);
  const world = await worldOf(source, { limits: { waitMs: 60_000 } });
  world.schedule();
  const socket = world.dialed();
  const { conn } = world.carrier.dials[0]!;
  await world.load(source, { generation: 2, drainMs: 10_000 });
  world.advance(10_900);
  expect(world.carrier.end(conn, socket).wasAborted).toBe(false);
  world.advance(1_200);
  expect(world.carrier.end(conn, socket).wasAborted).toBe(true);
  expect(world.lines).toEqual([
    'SocketError aborted a new generation took over',
    'SocketError aborted a new generation took over',
  ]);
  world.advance(1);
  expect(world.host.generations).toEqual([2]);
});

test('a sandbox that breaks takes the sockets of its calls with it', async () => {
  const world = await ConnWorld.of(
    scheduled(`connect('10.0.0.1:80'); await sleep(10); for (;;);`),
    { limits: { cpuHardMs: 200, watchdogMs: 10_000 } },
    true,
  );
  world.schedule();
  const end = world.carrier.end(world.carrier.dials[0]!.conn, world.dialed());
  for (let i = 0; i < 100 && !end.wasAborted && !end.wasClosed; i++) {
    await Bun.sleep(10);
    world.host.expire(performance.now() * 1000);
  }
  expect(end.wasAborted || end.wasClosed).toBe(true);
});

test('another data plane: the sockets are gone, and others can be opened', async () => {
  const world = await worldOf(
    scheduled(`const s = connect('10.0.0.1:80'); await s.opened; await fails(() => s.read());
      await connect('10.0.0.1:81').opened; say('again');`),
  );
  world.schedule();
  world.dialed();
  world.carrier.say(() => world.host.conns.lost(() => true));
  world.run();
  world.dialed();
  expect(world.lines).toEqual(['SocketError aborted restart', 'again']);
});

test('before the gateway carries anything a dial waits a little, and goes on then', async () => {
  const source = scheduled(`await fails(() => connect('10.0.0.1:80').opened);`);
  const world = await worldOf(source);
  world.carrier.reach = 'starting';
  world.schedule();
  world.advance(499);
  expect(world.lines).toEqual([]);
  world.advance(1);
  expect(world.lines).toEqual(['SocketError unreachable the gateway has not begun its service']);
  world.schedule();
  world.carrier.reach = 'up';
  world.carrier.say(() => world.host.conns.started());
  world.run();
  world.advance(5000);
  world.dialed('refused');
  expect(world.lines[1]).toBe('SocketError refused refused');
});

test('where there is no network at all a dial fails at once', async () => {
  const world = await worldOf(scheduled(`await fails(() => connect('10.0.0.1:80').opened);`));
  world.carrier.reach = 'none';
  world.schedule();
  expect(world.lines).toEqual(['SocketError unreachable there is no network here']);
});

test('many calls leave nothing behind', async () => {
  const world = await worldOf(
    scheduled(`const s = connect('10.0.0.1:80'); await s.opened.catch(() => {});
      if (event.name === '1') s.abort();`),
  );
  for (let i = 0; i < 200; i++) {
    world.schedule(String(i % 3));
    world.dialed(i % 3 === 2 ? 'refused' : 'ok');
  }
  world.advance(1);
  expect(world.ended).toHaveLength(200);
  const ends = [...world.carrier.ends.values()];
  expect(ends.every((end) => end.wasClosed || end.wasAborted)).toBe(true);
  expect(world.host.nextDeadline()).toBeGreaterThan(world.world.now);
});

test('a connection that fails is logged with code and peer, and is no error', async () => {
  const world = await worldOf(
    scheduled(`if (event.name === 'bug') null.x; await connect('10.0.0.1:80').opened;`),
  );
  world.schedule('probe');
  world.dialed('refused');
  world.schedule('bug');
  expect(world.world.logs).toMatchObject([
    {
      level: 'warn',
      message: 'scheduled(probe): SocketError: refused',
      fields: { code: 'refused', peer: '10.0.0.1:80' },
    },
    { level: 'warn', fields: { error: 'error' } },
  ]);
  world.advance(1000);
  expect(world.world.stats[0]?.errors).toBe(1);
});
