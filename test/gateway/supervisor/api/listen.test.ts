import { describe, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseAdminAddress } from '../../../../src/gateway/config/admin-address.ts';
import { admin } from '../../../../src/gateway/config/admin-schema.ts';
import { ConfigError, validateConfig } from '../../../../src/gateway/config/load.ts';
import {
  claimAddress,
  followAdmin,
  listen,
  resolveAdmin,
} from '../../../../src/gateway/supervisor/api/listen.ts';
import { AddressInUseError } from '../../../../src/gateway/supervisor/api/socket-file.ts';
import { StartError } from '../../../../src/gateway/supervisor/start-error.ts';

const socketPath = () => join(mkdtempSync(join(tmpdir(), 'culvert-')), 'admin.sock');
const resolve = (input: unknown) => resolveAdmin(admin.parse(input), 'c.yaml');
const answer = () => new Response('here');

/** A socket file whose process was killed. */
async function leaveSocket(path: string): Promise<void> {
  const source = `require("net").createServer().listen(${JSON.stringify(path)}, () => {
    process.kill(process.pid, "SIGKILL");
  })`;
  const leftOver = Bun.spawn([process.execPath, '-e', source]);
  await leftOver.exited;
  expect(leftOver.signalCode).toBe('SIGKILL');
  expect(existsSync(path)).toBe(true);
}

describe('an address', () => {
  test.each([
    ['unix:///run/x.sock', { kind: 'unix', path: '/run/x.sock' }],
    ['/run/x.sock', { kind: 'unix', path: '/run/x.sock' }],
    ['127.0.0.1:9000', { kind: 'tcp', ip: '127.0.0.1', port: 9000 }],
    ['tcp://[::1]:9000', { kind: 'tcp', ip: '::1', port: 9000 }],
    ['http://127.0.0.1:9000/', { kind: 'tcp', ip: '127.0.0.1', port: 9000 }],
  ])('%s', (text, address) => expect(parseAdminAddress(text)).toEqual(address as never));

  test.each(['', 'localhost:9000', '127.0.0.1', 'admin.sock'])('"%s" is none', (text) =>
    expect(parseAdminAddress(text)).toBeUndefined(),
  );

  test('of TCP needs a token, whichever', () => {
    const tcp = { listen: '127.0.0.1:9000' };
    const token = 'x'.repeat(16);
    expect(() => resolve(tcp)).toThrow('admin.token: TCP needs a token');
    expect(resolve({ ...tcp, token }).address.kind).toBe('tcp');
    expect(resolve({ ...tcp, tokenFile: '/x' }).address.kind).toBe('tcp');
    const tokens = [{ name: 'ci', token, scopes: ['read'] }];
    expect(resolve({ ...tcp, tokens }).address.kind).toBe('tcp');
  });

  test('of a socket has the mode that lets in whom the rules name', () => {
    const allow = [{ uid: 7, scopes: ['read'] }];
    expect(resolve({})).toMatchObject({ mode: 0o600 });
    expect(resolve({ allow })).toMatchObject({ mode: 0o666 });
    expect(resolve({ allow, socket: { group: 0 } })).toMatchObject({ mode: 0o660, gid: 0 });
    expect(resolve({ socket: { group: 'root' } })).toMatchObject({ mode: 0o660, gid: 0 });
    expect(resolve({ socket: { mode: '0640', group: 7 } })).toMatchObject({ mode: 0o640, gid: 7 });
    expect(() => resolve({ socket: { group: 'no-such-group' } })).toThrow(
      'admin.socket.group: "no-such-group" is not known',
    );
  });
});

describe('a TCP port', () => {
  test('that is in use is an error that says so', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((done) => other.once('listening', done));
    const { port } = other.address() as AddressInfo;
    const tcp = { kind: 'tcp', ip: '127.0.0.1', port } as const;
    await expect(listen(tcp, answer)).rejects.toThrow(AddressInUseError);
    await expect(listen(tcp, answer)).rejects.toThrow(`port ${port} of 127.0.0.1 is in use`);
    other.close();
  });

  test('of an address of another machine is an error that says so', async () =>
    expect(listen({ kind: 'tcp', ip: '192.0.2.1', port: 9000 }, answer)).rejects.toThrow(
      'cannot listen on port 9000 of 192.0.2.1: EADDRNOTAVAIL',
    ));
});

describe('a unix socket', () => {
  test('is for its owner only, and answers', async () => {
    const path = socketPath();
    const server = await listen({ kind: 'unix', path }, answer);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await (await fetch('http://localhost/', { unix: path })).text()).toBe('here');
    await server.stop();
  });

  test('has the mode and the group that it was given', async () => {
    const path = socketPath();
    const server = await listen({ kind: 'unix', path }, answer, { mode: 0o660, gid: 4 });
    expect(statSync(path).mode & 0o777).toBe(0o660);
    expect(statSync(path).gid).toBe(process.getuid?.() === 0 ? 4 : statSync(path).gid);
    await server.stop();
  });

  test('follows the config of a reload, and is as it was where that cannot be', async () => {
    const path = socketPath();
    const file = await claimAddress({ kind: 'unix', path });
    const follow = (input: object) =>
      followAdmin(
        { config: validateConfig({ admin: { listen: path, ...input } }, 'c', []), folder: '/' },
        file,
      );
    const server = await listen({ kind: 'unix', path }, answer, { file });
    const mode = () => statSync(path).mode & 0o777;
    const allow = [{ uid: 1000, scopes: ['read'] }];
    follow({ allow });
    expect(mode()).toBe(0o666);
    follow({ allow, socket: { mode: '0660', group: process.getgid?.() } });
    expect(mode()).toBe(0o660);
    expect(() => follow({ allow, socket: { group: 'no-such-group' } })).toThrow(ConfigError);
    expect(mode()).toBe(0o660);
    follow({});
    expect(mode()).toBe(0o600);
    await server.stop();
  });

  test.skipIf(process.getuid?.() !== 0)('has its old group when it loses a new one', async () => {
    const path = socketPath();
    const file = await claimAddress({ kind: 'unix', path });
    const server = await listen({ kind: 'unix', path }, answer, { file });
    file?.admit({ mode: 0o660, gid: 4 });
    expect(statSync(path).gid).toBe(4);
    file?.admit({ mode: 0o660 });
    expect(statSync(path).gid).toBe(process.getgid?.() ?? -1);
    await server.stop();
  });

  test('that nobody listens on is replaced', async () => {
    const path = socketPath();
    await leaveSocket(path);
    const server = await listen({ kind: 'unix', path }, answer);
    expect((await fetch('http://localhost/', { unix: path })).status).toBe(200);
    await server.stop();
  });

  test('with a path that no socket can have is an error of the config', () => {
    const listenAt = (length: number) => () => resolve({ listen: `/${'x'.repeat(length - 1)}` });
    expect(listenAt(107)).not.toThrow();
    expect(listenAt(108)).toThrow('c.yaml: admin.listen: a path of 108 bytes');
  });

  test('whose folder cannot be made is an error with its path', async () => {
    const path = '/dev/null/folder/admin.sock';
    await expect(listen({ kind: 'unix', path }, answer)).rejects.toThrow(StartError);
  });

  test('that a gateway listens on is left to it', async () => {
    const path = socketPath();
    const other = createServer().listen(path);
    await new Promise((done) => other.once('listening', done));
    await expect(claimAddress({ kind: 'unix', path })).rejects.toThrow('another culvert runs');
    other.close();
  });

  test('is that of one of two gateways that start together', async () => {
    const path = socketPath();
    await leaveSocket(path);
    const both = await Promise.allSettled([
      listen({ kind: 'unix', path }, answer),
      listen({ kind: 'unix', path }, answer),
    ]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const { reason } = both.find(({ status }) => status === 'rejected') as PromiseRejectedResult;
    expect(reason).toBeInstanceOf(AddressInUseError);
    // The one that came too late has removed nothing.
    expect((await fetch('http://localhost/', { unix: path })).status).toBe(200);
    for (const one of both) if (one.status === 'fulfilled') await one.value.stop();
  });

  test('leaves nothing behind, and its path is free', async () => {
    const path = socketPath();
    const server = await listen({ kind: 'unix', path }, answer);
    await server.stop();
    expect(readdirSync(dirname(path))).toEqual([]);
    await (await listen({ kind: 'unix', path }, answer)).stop();
  });

  test('does not replace a file that is none', async () => {
    const path = socketPath();
    writeFileSync(path, 'precious');
    await expect(listen({ kind: 'unix', path }, answer)).rejects.toThrow(AddressInUseError);
    expect(existsSync(path)).toBe(true);
  });
});
