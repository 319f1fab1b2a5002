import { expect, test } from 'bun:test';
import { dnsQuery, quicInitial } from '../../src/scripts-runtime/sniff/fixtures.ts';
import { ScriptWorld } from './script-world.ts';

const scriptOf = (body: string, sniffs = "['quic', 'dns']"): string =>
  `import { decline, forward, reject } from 'culvert';
   export default { sniffs: ${sniffs}, flow(flow: any) { ${body} } };`;
const TELL = 'return reject({ reason: JSON.stringify(flow.sniffed) })';
const UDP = { protocol: 'udp' } as const;

async function worldOf(...bodies: string[]): Promise<ScriptWorld> {
  const world = new ScriptWorld();
  await world.load(Object.fromEntries(bodies.map((body, i) => [`s${i}`, body])));
  return world;
}

/** Asks about a UDP flow that begins with these datagrams; returns the reason of the refusal. */
function reasonOf(world: ScriptWorld, datagrams: readonly Uint8Array[]): unknown {
  const id = world.ask('192.0.2.1', 443, UDP);
  expect(world.shown.at(-1)).toBe(id);
  for (const datagram of datagrams) {
    expect(world.answers.has(id)).toBe(false);
    world.host.shown(id, datagram);
  }
  return reasonIn(world, id);
}

function reasonIn(world: ScriptWorld, id: number): unknown {
  const decision = world.answers.get(id);
  const verdict = decision?.kind === 'verdict' ? decision.verdict : undefined;
  return verdict?.kind === 'reject' ? JSON.parse(verdict.reason || 'null') : undefined;
}

test('a flow is asked about when its datagrams have told what it is', async () => {
  const world = await worldOf(scriptOf(TELL));
  expect(reasonOf(world, quicInitial('a.example'))).toEqual({
    proto: 'quic',
    sni: 'a.example',
    alpn: ['h3'],
    ech: false,
    version: 1,
  });
  const two = quicInitial('pq.example', { postQuantum: true, frames: 4 }).toReversed();
  expect(reasonOf(world, two)).toMatchObject({ sni: 'pq.example' });
  expect(reasonOf(world, dnsQuery('b.example', 28))).toMatchObject({ qtype: 'AAAA' });
  const nothing = { proto: 'unknown', why: 'no-match' };
  expect(reasonOf(world, [new Uint8Array(100)])).toEqual(nothing);
});

test('a client that does not go on is asked about after 300 ms', async () => {
  const world = await worldOf(scriptOf(TELL));
  const id = world.ask('192.0.2.1', 443, UDP);
  world.host.shown(id, quicInitial('a.example', { datagrams: 2 })[0]!);
  expect(world.host.nextDeadline()).toBe(world.now + 300_000);
  world.advance(299);
  expect(world.answers.size).toBe(0);
  world.advance(1);
  expect(reasonIn(world, id)).toEqual({ proto: 'unknown', why: 'timeout' });
  world.host.shown(id, quicInitial('a.example', { datagrams: 2 })[1]!);
  expect(world.answers.size).toBe(1);
});

test('a flow that ends meanwhile is never asked about', async () => {
  const world = await worldOf(scriptOf(TELL));
  const id = world.ask('192.0.2.1', 443, UDP);
  world.host.cancel(id);
  world.host.shown(id, quicInitial('a.example')[0]!);
  world.advance(1000);
  expect(world.answers.size).toBe(0);
});

test('other protocols, and bundles that do not ask for it, are decided about at once', async () => {
  const world = await worldOf(scriptOf('return forward()'));
  expect(world.outcome('192.0.2.1', 443)).toBe('forward');
  expect(world.outcome('192.0.2.1', 0, { protocol: 'icmp' })).toBe('forward');
  const other = await worldOf(scriptOf(TELL, 'undefined'));
  expect(other.outcome('192.0.2.1', 443, UDP)).toBe('reject rst');
  expect([...world.shown, ...other.shown]).toEqual([]);
});

test('what any script of a bundle asks for, all of them are told', async () => {
  const dnsOnly = await worldOf(
    scriptOf('return decline()', "['dns']"),
    scriptOf(TELL, 'undefined'),
  );
  expect(reasonOf(dnsOnly, dnsQuery('a.example'))).toMatchObject({ proto: 'dns' });
  expect(reasonOf(dnsOnly, quicInitial('a.example'))).toMatchObject({ why: 'no-match' });
});

test('a script that broke is told the same when it is back', async () => {
  const world = new ScriptWorld(true);
  const body = 'if (flow.dst.port === 1) for (;;); return reject({ reason: flow.sniffed.proto })';
  await world.load({ a: scriptOf(body, "['dns']") });
  expect(world.outcome('192.0.2.1', 1)).toBe('failed cpu');
  const id = world.ask('192.0.2.1', 53, UDP);
  expect(world.shown).toEqual([id]);
});

test('more flows than can be looked at are decided about without', async () => {
  const world = await worldOf(scriptOf(TELL));
  for (let i = 0; i < 1024; i++) world.ask('192.0.2.1', 443, UDP);
  expect(world.answers.size).toBe(0);
  expect(world.outcome('192.0.2.1', 443, UDP)).toBe('reject rst');
});

test.each(["'quic'", "['tls']", "['quic', 'x']", '[1]', '{ length: 1 }'])(
  'sniffs: %s is refused',
  async (sniffs) => {
    const world = new ScriptWorld();
    const [issue] = await world.tryLoad({ a: scriptOf(TELL, `${sniffs} as any`) });
    expect(issue).toMatchObject({ kind: 'shape', message: expect.stringContaining('sniffs') });
  },
);
