/** Scripts that claim their flows, in tests of their authors. */
import { expect, test } from 'bun:test';
import { runScriptTests } from '../../../src/scripts-runtime/offline/run-tests.ts';
import { bundleOf, flowTo, replayFlows } from './offline-bundle.ts';

/** A script around the body of `connect(conn, env, ctx)`. */
const claiming = (body: string): string =>
  `import { claim, connect, SocketError } from 'culvert';
const text = (bytes: any) => bytes && String.fromCharCode(...bytes);
export default {
  flow() { return claim(); },
  async connect(conn: any, env: any, ctx: any) {
${body}
  },
};
`;

/** Runs the body of one test, and fails with what it failed with. */
async function expectPass(script: string, body: string): Promise<void> {
  const [source] = bundleOf({ route: script }).scripts;
  if (source === undefined) throw new Error('a bundle has a script');
  const test = `import { clock, expect, fixtures, flow, run, test } from 'culvert:test';
import script from './route';
const about = flow({ src: '10.0.0.5:40000', dst: '203.0.113.7:443' });
const text = (bytes) => String.fromCharCode(...bytes);
test('it', async () => {
${body}
});`;
  const bundle = { ...bundleOf({}), scripts: [{ ...source, tests: { 'route.test.ts': test } }] };
  const report = await runScriptTests(bundle);
  const [file] = report.files;
  expect(file?.failure?.message ?? file?.tests[0]?.failure?.message).toBeUndefined();
  expect(report.passed).toBe(1);
}

test('the flow of a connection has the name that its flow had', () =>
  expectPass(
    claiming('ctx.log.info(conn.flow.dnsName);'),
    `const named = flow({ src: '10.0.0.5:4', dst: '203.0.113.7:443', dnsName: 'a.example' });
     expect((await run(script, named)).logs[0].message).toBe('a.example');`,
  ));

const SNI_ROUTER = claiming(`
    const s = await conn.sniff({ protocols: ['tls'], timeoutMs: 300 });
    const name = s.proto === 'tls' ? s.sni : undefined;
    const to = name?.endsWith('.corp.example') ? '10.9.0.1:8443' : conn.flow.originalDst.toString();
    const up = connect(to, { signal: conn.flow.signal });
    await up.opened;
    await conn.splice(up);`);

test('a router by SNI: what the client sends decides where it goes, and arrives there whole', () =>
  expectPass(
    SNI_ROUTER,
    `const hello = fixtures.tlsClientHello('a.corp.example', { postQuantum: true, segments: 3 });
     const r = await run(script, about, {
       clientSends: hello,
       upstreams: { '10.9.0.1:8443': { answers: 'server hello' } },
     });
     expect(r.verdict.kind).toBe('claim');
     expect(r.dialed).toEqual(['10.9.0.1:8443']);
     expect(r.spliced).toBe('10.9.0.1:8443');
     expect(r.upstreamGot['10.9.0.1:8443']).toEqual(Uint8Array.from(hello.flatMap((p) => [...p])));
     expect(text(r.clientGot)).toBe('server hello');
     expect(r.ended).toBe('eof');
     expect(r.logs).toEqual([]);`,
  ));

test('a client that says nothing is sniffed for as long as the script wants, in no time', () =>
  expectPass(
    SNI_ROUTER,
    `const r = await run(script, about);
     expect(r.dialed).toEqual(['203.0.113.7:443']);
     expect(r.tookMs).toBeGreaterThan(299);`,
  ));

test('a script that talks: reads in pieces, writes, and hears the end of the client', () =>
  expectPass(
    claiming(`
    for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
      await conn.write('<' + text(bytes) + '>');
    }
    await conn.write('bye');`),
    `const r = await run(script, about, { clientSends: ['one', 'two'], clientCloses: true });
     expect(text(r.clientGot)).toBe('<one><two>bye');
     expect(r.ended).toBe('eof');
     expect(r.dialed).toEqual([]);`,
  ));

test('an upstream that refuses, is late, is named or speaks first', () =>
  expectPass(
    claiming(`
    for (const to of ['10.0.0.1:1', '10.0.0.2:2', 'db.example:3']) {
      try {
        const up = connect(to, { connectTimeoutMs: 500 });
        await up.opened;
        ctx.log.info(text(await up.read()));
        up.abort();
      } catch (error) {
        ctx.log.info(error instanceof SocketError ? error.code : String(error));
      }
    }
    conn.abort('done');`),
    `const r = await run(script, about, {
       upstreams: {
         '10.0.0.1:1': { refuses: 'refused' },
         '10.0.0.2:2': { connectMs: 1000 },
         'db.example:3': { sends: 'hello' },
       },
     });
     const said = r.logs.map(({ message }) => message);
     expect(said.slice(0, 3)).toEqual(['refused', 'timeout', 'hello']);
     expect(r.ended).toBe('killed');`,
  ));

test('an upstream by name is named where it is dialled, and answers by that', () =>
  expectPass(
    claiming(`
    const first = connect('10.0.0.1:1', { via: 'out' });
    ctx.log.info(text(await first.read()));
    await conn.splice(connect(undefined, { via: 'web' }));`),
    `const r = await run(script, about, {
       upstreams: { '10.0.0.1:1 via out': { sends: 'hello' }, 'via web': { closes: true } },
     });
     expect(r.dialed).toEqual(['10.0.0.1:1 via out', 'via web']);
     expect(r.spliced).toBe('via web');
     expect(r.logs[0].message).toBe('hello');`,
  ));

test('a name is shown as such in both families, and so it can refuse in both', () =>
  expectPass(
    claiming(`
    await connect('db.example:3').opened.catch((error: any) => ctx.log.info(error.code));
    conn.abort();`),
    `const r = await run(script, about, { upstreams: { 'db.example:3': { refuses: 'refused' } } });
     expect(r.dialed).toEqual(['db.example:3', 'db.example:3']);
     expect(r.logs[0].message).toBe('refused');`,
  ));

test('what the script may dial is what allow says', () =>
  expectPass(
    claiming(`
    await connect('10.0.0.1:1').opened.catch((error: any) => ctx.log.info(error.code));
    conn.abort();`),
    `const said = async (allow) => (await run(script, about, { allow })).logs[0]?.message;
     expect(await said(['10.0.0.2:*'])).toBe('denied');
     expect(await said(undefined)).not.toBe('denied');`,
  ));

test('a hook that throws fails its connection, and the log tells where', () =>
  expectPass(
    claiming(`    throw new Error('oops');`),
    `const r = await run(script, about);
     expect(r.ended).toBe('killed');
     expect(r.logs[0].message).toBe('route.ts:6:20: Error: oops');`,
  ));

test('bytes of a hook that never rests are not waited for', () =>
  expectPass(
    claiming(`
    setInterval(() => ctx.log.debug('tick'), 60_000);
    await conn.read();`),
    `const r = await run(script, about);
     expect(r.ended).toBe('eof');`,
  ));

test('fixtures are checked: what no client would send is refused', () =>
  expectPass(
    claiming('conn.abort();'),
    `expect(() => fixtures.tlsClientHello('a', { segments: 1e9 })).toThrow('from 0 to 4096');
     expect(fixtures.httpRequest('a.example')[0][0]).toBe('G'.charCodeAt(0));
     expect(fixtures.quicInitial('a.example').length).toBeGreaterThan(0);
     expect(text(fixtures.tlsClientHello(undefined)[0])).not.toContain('null');`,
  ));

test('a replay shows a claim, and a thousand of them leave no connection behind', async () => {
  const flows = Array.from({ length: 1200 }, () => flowTo('1.2.3.4', 443));
  const verdicts = await replayFlows(bundleOf({ a: claiming('conn.abort();') }), flows);
  expect(new Set(verdicts.map(({ text }) => text))).toEqual(new Set(['claim']));
});
