import { beforeEach, describe, expect, test } from 'bun:test';
import type { Hono } from 'hono';
import { apiOf, type FakePlane, fakePlane } from './fake-plane.ts';

let plane: FakePlane;
let api: Hono;
beforeEach(() => {
  plane = fakePlane();
  api = apiOf(plane);
});

const ask = (body: unknown, type = 'application/json') =>
  api.request('/v1/explain', {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers: { 'Content-Type': type },
  });

const FLOW = { src: '192.0.2.5', dst: '10.1.1.1', dst_port: 443 };

describe('POST /v1/explain', () => {
  test('names the listener that decides, and why those before it do not', async () => {
    const answer = await ask(FLOW);
    expect(answer.status).toBe(200);
    expect(await answer.json()).toEqual({
      flow: 'tcp 192.0.2.5:40000 > 10.1.1.1:443',
      decided_by: 'listener',
      name: 'web',
      index: 1,
      verdict: 'drop',
      steps: [
        { kind: 'listener', index: 0, name: 'dns', matches: false, why: 'protocol: takes udp' },
        { kind: 'listener', index: 1, name: 'web', matches: true },
      ],
      notes: [],
    });
  });

  test('says what each listener wants when none matches and nobody is asked', async () => {
    const udp = await ask({ ...FLOW, proto: 'udp' });
    expect(await udp.json()).toMatchObject({
      decided_by: 'nobody',
      verdict: 'reject',
      steps: [{ why: 'port: takes 53' }, { why: 'protocol: takes tcp' }],
    });
    const elsewhere = await ask({ ...FLOW, dst: '203.0.113.7' });
    expect(await elsewhere.json()).toMatchObject({
      steps: [{}, { why: 'destination: takes 10.0.0.0/8' }],
    });
  });

  test('knows that pings of local addresses are answered by the gateway', async () => {
    const answer = await ask({ proto: 'icmp', src: '192.0.2.5', dst: '10.0.0.80' });
    expect(await answer.json()).toMatchObject({ decided_by: 'gateway', verdict: 'echo reply' });
  });

  test('writes addresses as the gateway compares them', async () => {
    const answer = await ask({ ...FLOW, dst: '::ffff:10.1.1.1' });
    expect(await answer.json()).toMatchObject({ decided_by: 'listener', name: 'web' });
  });

  test.each([
    ['an address that is none', { ...FLOW, src: 'here' }, 'src: "here" is no IP address'],
    ['two families', { ...FLOW, dst: 'fd00::1' }, 'dst: is of another family'],
    ['TCP without a port', { src: '192.0.2.5', dst: '10.1.1.1' }, 'dst_port: is needed'],
    ['a ping with a port', { ...FLOW, proto: 'icmp' }, 'icmp has none'],
    ['a field that there is not', { ...FLOW, source: 1 }, 'source'],
  ])('refuses %s with 400', async (_, body, detail) => {
    const answer = await ask(body);
    expect(answer.status).toBe(400);
    expect(((await answer.json()) as { detail: string }).detail).toContain(detail);
  });

  test('refuses what is no JSON with 400', async () => {
    expect((await ask('{')).status).toBe(400);
  });

  test('stands in the OpenAPI document with its body', async () => {
    const { paths } = (await (await api.request('/v1/openapi.json')).json()) as {
      paths: Record<string, { post?: { requestBody?: unknown } }>;
    };
    expect(JSON.stringify(paths['/v1/explain']?.post?.requestBody)).toContain('dst_port');
  });
});
