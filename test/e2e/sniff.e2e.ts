/**
 * A script decides about UDP flows by what their first datagrams say. Those that came before the
 * verdict reach the upstream, in their order.
 *
 *   client                    gw                          server
 *     agent ── culvert0 ── [ culvert run, script ] ── agent: echo
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { dnsQuery, quicInitial } from '../../src/scripts-runtime/sniff/fixtures.ts';
import { FAMILIES } from '../support/netns.ts';
import { World } from '../support/world.ts';

const SCRIPT = `
import { forward, reject } from 'culvert';
export default {
  sniffs: ['quic', 'dns'],
  flow(flow) {
    const { sniffed } = flow;
    const name = sniffed?.proto === 'quic' ? sniffed.sni : sniffed?.qname;
    if (name?.endsWith('good.example')) return forward();
    return reject({ reason: JSON.stringify(sniffed) });
  },
};
`;
/** What nobody answers shows nothing before. */
const PAUSE_MS = 150;
/** As long as the gateway waits for the rest of a hello, and some. */
const PATIENCE_MS = 1500;

let world: World;
beforeAll(async () => {
  world = await World.start({ scripts: { sniff: SCRIPT } });
});
afterAll(() => world?.[Symbol.asyncDispose]());

describe.each([...FAMILIES])('$name', (family) => {
  const host = family.server;
  const open = async () => {
    const port = await world.server.call('udpServe', { host, port: 0, kind: 'echo' });
    const to = { host, port };
    const { id } = await world.client.call('udpOpen', { family: family.version, to });
    return {
      send: (datagram: Uint8Array) =>
        world.client.call('udpSendBytes', { id, hex: Buffer.from(datagram).toString('hex') }),
      next: async (timeoutMs = PATIENCE_MS) => {
        const news = await world.client.call('udpNext', { id, timeoutMs });
        return 'text' in news ? news.text : news.error;
      },
    };
  };
  const textOf = (datagram: Uint8Array): string => Buffer.from(datagram).toString('latin1');

  test('a hello in two datagrams, the second first, is forwarded by its name', async () => {
    const flow = await open();
    const datagrams = quicInitial('www.good.example', { postQuantum: true, frames: 3 });
    const [late, early] = datagrams as [Uint8Array, Uint8Array];
    await flow.send(early);
    expect(await flow.next(PAUSE_MS)).toBe('SILENCE');
    await flow.send(late);
    expect([await flow.next(), await flow.next()]).toEqual([textOf(early), textOf(late)]);
  });

  test('another name is refused at once', async () => {
    const flow = await open();
    const [datagram] = quicInitial('bad.example') as [Uint8Array];
    await flow.send(datagram);
    expect(await flow.next()).toBe('ECONNREFUSED');
  });

  test('a hello that is never whole is refused when nobody waits for it any more', async () => {
    const flow = await open();
    const [datagram] = quicInitial('www.good.example', { datagrams: 2 }) as [Uint8Array];
    await flow.send(datagram);
    expect(await flow.next(PAUSE_MS)).toBe('SILENCE');
    expect(await flow.next()).toBe('ECONNREFUSED');
  });

  test('a question of DNS is forwarded by its name, and what is neither is refused', async () => {
    const [question] = dnsQuery('a.good.example', 65) as [Uint8Array];
    const asked = await open();
    await asked.send(question);
    expect(await asked.next()).toBe(textOf(question));
    const other = await open();
    await other.send(new Uint8Array(40));
    expect(await other.next()).toBe('ECONNREFUSED');
  });
});
