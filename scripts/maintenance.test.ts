import { expect, fixtures, flow, run, test } from 'culvert:test';
import script from './maintenance.ts';

const env = { vars: { maintenance: 'on' }, sets: { testers: ['192.0.2.0/24'] } };
const to = (port: number, src = '198.51.100.5') =>
  flow({ src: `${src}:40000`, dst: `203.0.113.7:${port}` });

async function ask(method: string): Promise<[head: string, body: string]> {
  const clientSends = fixtures.httpRequest('www.example.com', { method, segments: 2 });
  const r = await run(script, to(80), { env, clientSends });
  expect(r.verdict.kind).toBe('claim');
  expect(r.ended).toBe('eof');
  const [head = '', body = ''] = new TextDecoder().decode(r.clientGot).split('\r\n\r\n');
  return [head, body];
}

test('a browser gets the page, and hears when to come back', async () => {
  const [head, body] = await ask('GET');
  expect(head).toStartWith('HTTP/1.1 503 ');
  expect(head).toContain('\r\nRetry-After: 300');
  expect(head).toContain(`\r\nContent-Length: ${body.length}\r\n`);
  expect(body).toContain('<h1>We are working on it</h1>');
});

test('HEAD gets no body', async () => {
  const [head, body] = await ask('HEAD');
  expect(head).toStartWith('HTTP/1.1 503 ');
  expect(body).toBe('');
});

test('who says nothing, or something else, hears nothing', async () => {
  for (const clientSends of [[], fixtures.sshBanner()]) {
    const r = await run(script, to(80), { env, clientSends });
    expect(r.clientGot).toHaveLength(0);
    expect(r.tookMs).toBeLessThan(6000);
  }
});

test('TLS is refused; testers and other ports are left to the next script', async () => {
  const verdictOf = async (port: number, src?: string) =>
    (await run(script, to(port, src), { env })).text;
  expect(await verdictOf(443)).toBe('reject reason=maintenance');
  expect(await verdictOf(22)).toBe('decline');
  expect(await verdictOf(80, '192.0.2.9')).toBe('decline');
});

test('when it is over, everybody gets through', async () => {
  const over = { ...env, vars: { maintenance: 'off' } };
  expect((await run(script, to(80), { env: over })).text).toBe('decline');
});
