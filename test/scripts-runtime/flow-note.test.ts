/** What a script host notes about flows, for the log. */
import { describe, expect, test } from 'bun:test';
import { NOTE_ALPN_MAX, NOTE_NAME_MAX, sniffNote } from '../../src/scripts-runtime/flow-note.ts';
import { dnsQuery, quicInitial } from '../../src/scripts-runtime/sniff/fixtures.ts';
import { ConnWorld, claiming } from './conns/conn-world.ts';
import { ScriptWorld, scriptOf } from './script-world.ts';

describe('of what a sniffer has found', () => {
  test('names and protocols are kept, and nothing else', () => {
    const tls = { proto: 'tls', sni: 'a.example', alpn: ['h2'], ech: true } as const;
    expect(sniffNote(tls)).toEqual({ proto: 'tls', sni: 'a.example', alpn: ['h2'] });
    expect(sniffNote({ proto: 'quic', alpn: [], ech: false, version: 1 })).toEqual({
      proto: 'quic',
    });
    const http = { proto: 'http', method: 'GET', host: 'b.example', path: '/?token=x' } as const;
    expect(sniffNote(http)).toEqual({ proto: 'http', host: 'b.example' });
    expect(sniffNote({ proto: 'ssh', banner: 'SSH-2.0-x' })).toEqual({ proto: 'ssh' });
    expect(sniffNote({ proto: 'dns', qname: 'c.example', qtype: 'A' })).toEqual({
      proto: 'dns',
      host: 'c.example',
    });
    expect(sniffNote({ proto: 'unknown', why: 'timeout' })).toEqual({ proto: 'unknown' });
  });

  test('what a client makes endless is cut', () => {
    const host = 'h'.repeat(10_000);
    const http = sniffNote({ proto: 'http', method: 'GET', host, path: '/' });
    expect(http.host).toHaveLength(NOTE_NAME_MAX);
    const alpn = Array.from({ length: 100 }, (_, i) => `p${i}`);
    expect(sniffNote({ proto: 'tls', alpn, ech: false }).alpn).toEqual(
      alpn.slice(0, NOTE_ALPN_MAX),
    );
  });
});

describe('of a decision', () => {
  const resolved = (world: ScriptWorld) =>
    world.host.resolved(world.lookups.at(-1)!.id, ['203.0.113.7'], '');

  test.each(['forward', 'nat'])('the name that was given to %s()', async (verdict) => {
    const world = new ScriptWorld();
    await world.load({ a: scriptOf(`return ${verdict}('www.example.com:80')`) });
    const id = world.ask('192.0.2.1', 80, { flow: 12 });
    expect(world.notes.size).toBe(0);
    resolved(world);
    expect(world.answers.has(id)).toBe(true);
    expect(world.notes.get(12)).toEqual({ dnsName: 'www.example.com' });
  });

  test('there is no note about an address, nor about a name without one', async () => {
    const world = new ScriptWorld();
    const script = "return forward(flow.dst.port === 80 ? '10.0.0.1:80' : 'gone.example:80')";
    await world.load({ a: scriptOf(script) });
    world.ask('192.0.2.1', 80);
    world.ask('192.0.2.1', 81);
    world.host.resolved(world.lookups.at(-1)!.id, [], 'ENOTFOUND');
    expect(world.answers.size).toBe(2);
    expect(world.notes.size).toBe(0);
  });

  test('what the first datagrams of a UDP flow were, before it is asked about', async () => {
    const world = new ScriptWorld();
    const script = `import { forward } from 'culvert';
      export default { sniffs: ['quic', 'dns'], flow() { return forward(); } };`;
    await world.load({ a: script });
    const flows = { 20: quicInitial('a.example'), 21: dnsQuery('b.example', 28) };
    for (const [flow, datagrams] of Object.entries(flows)) {
      const id = world.ask('192.0.2.1', 443, { protocol: 'udp', flow: Number(flow) });
      for (const datagram of [datagrams].flat()) world.host.shown(id, datagram);
    }
    expect(world.notes.get(20)).toEqual({
      sniff: { proto: 'quic', sni: 'a.example', alpn: ['h3'] },
    });
    expect(world.notes.get(21)).toEqual({ sniff: { proto: 'dns', host: 'b.example' } });
  });
});

describe('of a claimed connection', () => {
  /** The first flow of a world has the number 1. */
  const FLOW = 1;

  test('what `conn.sniff()` has found', async () => {
    const world = await ConnWorld.of(claiming('await conn.sniff();'));
    const conn = world.connect();
    world.send(conn, 'GET /a HTT');
    expect(world.world.notes.size).toBe(0);
    world.send(conn, 'P/1.1\r\nHost: A.example\r\n\r\n');
    expect(world.world.notes.get(FLOW)).toEqual({ sniff: { proto: 'http', host: 'a.example' } });
  });

  test('a sniffer of the script itself says nothing about it', async () => {
    const world = await ConnWorld.of(
      claiming("say(await conn.sniff({ with: () => ({ proto: 'tls', sni: 'x' }) }));"),
    );
    world.send(world.connect(), 'hello');
    expect(world.lines).toHaveLength(1);
    expect(world.world.notes.size).toBe(0);
  });

  async function dialled(body: string): Promise<ConnWorld> {
    const world = await ConnWorld.of(claiming(body));
    world.connect();
    for (const { id } of world.world.lookups) world.host.resolved(id, ['203.0.113.7'], '');
    world.run();
    return world;
  }

  test('the name that was dialled, as soon as a socket is open', async () => {
    const world = await dialled("await connect('up.example:80').opened; await conn.read();");
    expect(world.world.notes.size).toBe(0);
    world.dialed();
    expect(world.world.notes.get(FLOW)).toEqual({ dnsName: 'up.example' });
  });

  test('the name of the socket that it was spliced with, or none', async () => {
    const body = (second: string) => `await connect('first.example:80').opened;
      await conn.splice(connect('${second}'));`;
    for (const [second, dnsName] of [
      ['second.example:80', 'second.example'],
      ['10.0.0.1:80', ''],
    ] as const) {
      const world = await dialled(body(second));
      world.dialed();
      for (const { id } of world.world.lookups.slice(1)) {
        world.host.resolved(id, ['203.0.113.8'], '');
      }
      world.run();
      world.dialed();
      expect(world.carrier.splices).toHaveLength(1);
      expect(world.world.notes.get(FLOW)).toEqual({ dnsName });
    }
  });
});
