/** The server over real sockets: who is at the other end, and clients that do not behave. */
import { afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Peer } from '../../../../../src/gateway/supervisor/api/callers.ts';
import { listen } from '../../../../../src/gateway/supervisor/api/listen.ts';
import type { Handler } from '../../../../../src/gateway/supervisor/api/transport/answer-of.ts';
import { DEFAULT_LIMITS } from '../../../../../src/gateway/supervisor/api/transport/connections.ts';
import type { ApiServer } from '../../../../../src/gateway/supervisor/api/transport/server.ts';
import { RawClients } from '../../../../support/raw-clients.ts';
import { PATIENT_TEST_MS, until } from '../../support.ts';

setDefaultTimeout(PATIENT_TEST_MS);

const path = join(mkdtempSync(join(tmpdir(), 'culvert-')), 'api.sock');
/** Fast enough for a test; what is not said is as in a gateway. */
const FAST = { ...DEFAULT_LIMITS, headMs: 150, keepAliveMs: 150, requestMs: 150, answerMs: 150 };

let server: ApiServer | undefined;
const clients = new RawClients();
afterEach(async () => {
  clients.destroy();
  await server?.stop();
});

const serve = async (handler: Handler, limits = DEFAULT_LIMITS) => {
  server = await listen({ kind: 'unix', path }, handler, { limits });
};
const hello: Handler = () => new Response('hello');
const GET = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';

const client = (text: string) => clients.open({ path }, text);

/** What a client that sends this gets until it is closed, or an answer is whole. */
async function answerTo(text: string): Promise<string> {
  const seen = client(text);
  await until(() => seen.isClosed || seen.text.includes('hello'), 'an answer');
  return seen.text;
}

test('the kernel says who is at the other end of a unix socket', async () => {
  const peers: Peer[] = [];
  await serve((_, { peer }) => {
    peers.push(peer);
    return new Response('hello');
  });
  await answerTo(GET);
  const child = Bun.spawn(['curl', '-s', '--unix-socket', path, 'http://x/']);
  await child.exited;
  const own = { kind: 'unix', uid: process.getuid?.(), gid: process.getgid?.() };
  const groups = process.getgroups?.() ?? [];
  expect(peers[0]).toMatchObject({ ...own, pid: process.pid });
  expect(peers[1]).toMatchObject({ ...own, pid: child.pid });
  expect(peers[0]).toMatchObject({ groups: expect.arrayContaining(groups) });
});

test('over TCP a peer is an address', async () => {
  const port = 20_000 + (process.pid % 10_000);
  const tcp = { kind: 'tcp', ip: '127.0.0.1', port } as const;
  server = await listen(tcp, (_, { peer }) => Response.json(peer));
  const answer = await fetch(`http://127.0.0.1:${port}/`);
  expect(await answer.json()).toEqual({
    kind: 'tcp',
    address: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
  });
});

describe('a request', () => {
  test('comes with its method, path, headers and body', async () => {
    await serve(async (request) =>
      Response.json({
        method: request.method,
        url: request.url,
        tags: request.headers.get('If-Match'),
        body: (await request.text()).length,
      }),
    );
    const answer = await fetch('http://x/a?b=c', {
      unix: path,
      method: 'PUT',
      body: 'x'.repeat(3_000_000),
      headers: { 'If-Match': '"a"' },
    });
    expect(await answer.json()).toEqual({
      method: 'PUT',
      url: 'http://localhost/a?b=c',
      tags: '"a"',
      body: 3_000_000,
    });
  });

  test('is answered on a connection that is kept, and ahead of the one before', async () => {
    let count = 0;
    await serve(async (request) => {
      const number = ++count;
      // The second one would be ready first.
      if (request.url.endsWith('/slow')) await Bun.sleep(30);
      return new Response(`answer ${number}.`);
    });
    const seen = client(`${GET.replace('/', '/slow')}${GET}`);
    await until(() => seen.text.includes('answer 2.'), 'both answers');
    expect(seen.text.indexOf('answer 1.')).toBeLessThan(seen.text.indexOf('answer 2.'));
    expect(seen.isClosed).toBe(false);
  });

  test('of HEAD has no body, and a large answer comes whole', async () => {
    await serve(() => new Response('x'.repeat(5_000_000)));
    expect(await (await fetch('http://x/', { unix: path, method: 'HEAD' })).text()).toBe('');
    expect((await (await fetch('http://x/', { unix: path })).text()).length).toBe(5_000_000);
  });

  test('whose client goes is told so', async () => {
    let isAborted = false;
    await serve(async (request) => {
      request.signal.addEventListener('abort', () => {
        isAborted = true;
      });
      await new Promise(() => undefined);
      return new Response();
    });
    const seen = client(GET);
    await Bun.sleep(30);
    seen.socket.destroy();
    await until(() => isAborted, 'the signal');
  });
});

describe('an upgrade to what nobody speaks here is ignored', () => {
  const asking = (protocol: string, method = 'GET', rest = '') =>
    `${method} /a?b=c HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade, HTTP2-Settings\r\n` +
    `Upgrade: ${protocol}\r\nHTTP2-Settings: AAMAAABkAAQAoAAA\r\nX-Name: Jürgen\r\n${rest}`;
  const echo: Handler = async (request) => {
    const { method, url, headers } = request;
    const names = [...headers.keys()].join();
    return new Response(
      `${method} ${url} ${names} ${headers.get('x-name')} ${await request.text()}.`,
    );
  };

  test.each(['h2c', 'h2c, TLS/1.0', 'websockets'])('%s', async (protocol) => {
    await serve(echo);
    const seen = client('');
    seen.socket.write(Buffer.from(`${asking(protocol)}\r\n`, 'latin1'));
    await until(() => seen.text.includes('rgen'), 'an answer');
    expect(seen.text).toStartWith('HTTP/1.1 200 ');
    const body = Buffer.from(seen.text, 'latin1').toString();
    expect(body).toContain('GET http://localhost/a?b=c connection,host,x-name Jürgen .');
  });

  test('with its body, and the requests behind it are answered in their order', async () => {
    await serve(echo);
    const post = asking('h2c', 'POST', 'Content-Length: 5\r\n\r\nhello');
    const seen = client(`${GET}${post}${GET.replace('/', '/last')}`);
    await until(() => seen.text.includes('/last'), 'all answers');
    expect(seen.text.split('HTTP/1.1 200 ')).toHaveLength(4);
    expect(seen.text).toMatch(/GET .*localhost\/ .*POST .*a\?b=c.* hello\..*GET .*\/last/s);
    expect(seen.isClosed).toBe(false);
  });

  test('with a body that comes later, in parts', async () => {
    await serve(echo);
    const seen = client(asking('h2c', 'POST', 'Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n'));
    await Bun.sleep(20);
    seen.socket.write('2\r\nlo\r\n0\r\n\r\n');
    await until(() => seen.text.includes('hello.'), 'the answer');
  });

  test('and its client has no more time than others', async () => {
    await serve(hello, FAST);
    const seen = client(asking('h2c', 'POST', 'Content-Length: 5\r\n\r\n'));
    await until(() => seen.isClosed, 'the end');
  });
});

describe('what is no request', () => {
  test.each([
    ['no HTTP', 'GARBAGE\r\n\r\n', 400],
    ['no host', 'GET / HTTP/1.1\r\n\r\n', 400],
    ['two hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
    ['another host in the target', 'GET http://evil/ HTTP/1.1\r\nHost: x\r\n\r\n', 400],
    [
      'two lengths',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
      400,
    ],
    [
      'a length and chunks',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n',
      400,
    ],
    ['a long head', `GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`, 431],
    ['many headers', `GET / HTTP/1.1\r\nHost: x\r\n${'X: y\r\n'.repeat(200)}\r\n`, 431],
  ])('%s is answered with its status', async (_, text, status) => {
    let isReached = false;
    await serve(() => {
      isReached = true;
      return new Response('hello');
    });
    const seen = client(text);
    await until(() => seen.text !== '', 'an answer');
    expect(seen.text).toStartWith(`HTTP/1.1 ${status} `);
    expect(isReached).toBe(false);
  });
});

describe('a client that does not get on is cut', () => {
  test('that says nothing', async () => {
    await serve(hello, FAST);
    const seen = client('');
    await until(() => seen.isClosed, 'the end');
  });

  test('that sends its head byte by byte', async () => {
    await serve(hello, FAST);
    const seen = client('GET / HTTP/1.1\r\nHost: x\r\n');
    const timer = setInterval(() => seen.socket.write('a'), 20);
    await until(() => seen.isClosed, 'the end');
    clearInterval(timer);
    expect(seen.text).toBe('');
  });

  test('that sends its body byte by byte', async () => {
    let got = 'nothing yet';
    await serve(async (request) => {
      got = await request.text().catch(() => 'cut');
      return new Response('hello');
    }, FAST);
    const seen = client('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n');
    const timer = setInterval(() => seen.socket.write('a'), 20);
    await until(() => seen.isClosed, 'the end');
    clearInterval(timer);
    await until(() => got === 'cut', 'the route to hear of it');
  });

  test('that keeps its connection and asks nothing', async () => {
    await serve(hello, FAST);
    const seen = client(GET);
    await until(() => seen.isClosed, 'the end');
    expect(seen.text).toContain('hello');
  });

  test('that does not read its answer, which is not made meanwhile', async () => {
    let made = 0;
    let isCancelled = false;
    await serve(
      () =>
        new Response(
          new ReadableStream(
            {
              pull(controller) {
                made += 100_000;
                controller.enqueue(new Uint8Array(100_000));
              },
              cancel() {
                isCancelled = true;
              },
            },
            { highWaterMark: 0 },
          ),
        ),
      FAST,
    );
    const seen = client('');
    seen.socket.pause();
    seen.socket.write(GET);
    await until(() => isCancelled, 'the end');
    expect(made).toBeLessThan(5_000_000);
  });

  test('but not one that waits for the gateway', async () => {
    await serve(async () => {
      await Bun.sleep(500);
      return new Response('hello');
    }, FAST);
    expect(await answerTo(GET)).toContain('hello');
  });

  test('that sends more requests than it reads answers', async () => {
    await serve(() => new Promise(() => undefined));
    const seen = client(GET.repeat(40));
    await until(() => seen.isClosed, 'the end');
  });
});

test('an answer that fails on its way ends its connection, and is told', async () => {
  const errors: unknown[] = [];
  const broken = () =>
    new Response(
      new ReadableStream(
        {
          async pull(controller) {
            controller.error(new Error('broken'));
          },
        },
        { highWaterMark: 0 },
      ),
    );
  server = await listen({ kind: 'unix', path }, broken, { onError: (error) => errors.push(error) });
  const seen = client(GET);
  await until(() => seen.isClosed, 'the end');
  expect(errors).toEqual([new Error('broken')]);
});

test('a body that nobody reads does not keep its sender from the answer', async () => {
  await serve(() => new Response('refused', { status: 403 }));
  const seen = client('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\nabc');
  await until(() => seen.text.includes('refused'), 'the answer');
  expect(seen.text).toContain('Connection: close');
});

test('strangers have so many connections, and cannot keep out the owner', async () => {
  const port = 20_001 + (process.pid % 10_000);
  const limits = { ...DEFAULT_LIMITS, connectionsPerPeer: 2 };
  server = await listen({ kind: 'tcp', ip: '127.0.0.1', port }, hello, { limits });
  const open = () => clients.open({ port, host: '127.0.0.1' }, '');
  const [first, second] = [open(), open()];
  await Bun.sleep(20);
  const third = open();
  await until(() => third.isClosed, 'the third to be refused');
  expect(third.text).toStartWith('HTTP/1.1 503 ');
  expect([first?.isClosed, second?.isClosed]).toEqual([false, false]);
  await server.stop();
  await serve(hello, { ...limits, connections: 0 });
  // Who runs this test is who the server runs as.
  expect(await answerTo(GET)).toContain('hello');
});
