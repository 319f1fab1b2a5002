import { expect, test } from 'bun:test';
import { httpRequest } from '../../../src/scripts-runtime/sniff/fixtures.ts';
import { sniff } from '../../../src/scripts-runtime/sniff/sniff.ts';
import { ascii, joined, sniffByteByByte } from '../../support/splits.ts';

const NO_MATCH = { proto: 'unknown', why: 'no-match' } as const;

const request = (line: string, ...fields: string[]): Uint8Array =>
  ascii(`${[line, ...fields].join('\r\n')}\r\n\r\n`);

test('method, host and path of a request', () => {
  const bytes = joined(httpRequest('WWW.Example.com:8080', { method: 'POST', path: '/a/b?c=%20' }));
  expect(sniff(bytes)).toEqual({
    proto: 'http',
    method: 'POST',
    host: 'www.example.com',
    path: '/a/b?c=%20',
  });
});

test('a request that comes byte by byte is known with the empty line', () => {
  const bytes = joined(httpRequest('a.example', { headers: { Accept: '*/*', Cookie: 'a=b; c' } }));
  const { sniffed, length } = sniffByteByByte(joined([bytes, ascii('body')]));
  expect(sniffed).toMatchObject({ proto: 'http', host: 'a.example' });
  expect(length).toBe(bytes.length);
});

test.each([
  ['[2001:DB8::1]:80', '[2001:db8::1]'],
  ['192.0.2.1', '192.0.2.1'],
  ['a.example.', 'a.example'],
  ['a.example:', 'a.example'],
])('Host %s is %s', (field, host) => {
  expect(sniff(request('GET / HTTP/1.1', `hOsT: \t${field} `))).toMatchObject({ host });
});

test('without a Host, or with an empty one, there is no host', () => {
  const nobody = { proto: 'http', method: 'GET', path: '/' } as const;
  expect(sniff(request('GET / HTTP/1.0'))).toEqual(nobody);
  expect(sniff(request('GET / HTTP/1.1', 'Host:'))).toEqual(nobody);
});

test.each([
  ['GET http://A.example HTTP/1.1', 'a.example', '/'],
  ['GET http://a.example:80?q HTTP/1.1', 'a.example', '/?q'],
  ['GET HTTPS://a.example:443/x?y=http://b/ HTTP/1.1', 'a.example', '/x?y=http://b/'],
  ['CONNECT a.example:443 HTTP/1.1', 'a.example', ''],
  ['CONNECT [fd00::1]:443 HTTP/1.1', '[fd00::1]', ''],
])('%s names its host', (line, host, path) => {
  expect(sniff(request(line))).toMatchObject({ host, path });
});

test('OPTIONS asks about the server as a whole', () => {
  const sniffed = sniff(request('OPTIONS * HTTP/1.1', 'Host: a.example'));
  expect(sniffed).toMatchObject({ method: 'OPTIONS', host: 'a.example', path: '*' });
});

test('a target and a Host that differ are refused, for two servers would read two hosts', () => {
  const line = 'GET http://a.example/ HTTP/1.1';
  expect(sniff(request(line, 'Host: b.example'))).toEqual(NO_MATCH);
  expect(sniff(request(line, 'Host: a.example:81'))).toEqual(NO_MATCH);
  expect(sniff(request(line, 'Host: A.example'))).toMatchObject({ host: 'a.example' });
  expect(sniff(request('CONNECT a.example:443 HTTP/1.1', 'Host: b.example:443'))).toEqual(NO_MATCH);
});

test.each([
  ['a folded line', 'GET / HTTP/1.1\r\nHost: a.example\r\n b\r\n\r\n'],
  ['a folded line, with a tab', 'GET / HTTP/1.1\r\nX: a\r\n\tHost: b\r\n\r\n'],
  ['a second Host', 'GET / HTTP/1.1\r\nHost: a.example\r\nhost: a.example\r\n\r\n'],
  ['a space before the colon', 'GET / HTTP/1.1\r\nHost : a.example\r\n\r\n'],
  ['a bare LF after the request line', 'GET / HTTP/1.1\nHost: a.example\r\n\r\n'],
  ['a bare LF after a field', 'GET / HTTP/1.1\r\nHost: a.example\nX: y\r\n\r\n'],
  ['a bare CR in a field', 'GET / HTTP/1.1\r\nX: a\rHost: b\r\n\r\n'],
  ['a NUL in a field', 'GET / HTTP/1.1\r\nHost: a\0.example\r\n\r\n'],
  ['a field without a name', 'GET / HTTP/1.1\r\n: a\r\n\r\n'],
  ['a field without a colon', 'GET / HTTP/1.1\r\nHost\r\n\r\n'],
  ['an empty line first', '\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['two spaces before the target', 'GET  / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a space in the target', 'GET /a b HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a byte above ASCII in the target', 'GET /\xfc HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a target that is no path', 'GET a.example HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['the star of another method', 'GET * HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a user in the target', 'GET http://a@b/ HTTP/1.1\r\n\r\n'],
  ['a fragment in the target', 'GET http://a/#b HTTP/1.1\r\n\r\n'],
  ['a scheme without a host', 'GET http:///x HTTP/1.1\r\n\r\n'],
  ['a method in lower case', 'get / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a method that never ends', 'A'.repeat(25)],
  ['HTTP/0.9', 'GET /\r\n\r\n'],
  ['HTTP/2.0 in a request line', 'GET / HTTP/2.0\r\nHost: a\r\n\r\n'],
  ['a version with a tail', 'GET / HTTP/1.1x\r\nHost: a\r\n\r\n'],
  ['SMTP', 'EHLO client.example\r\n'],
  ['Redis', '*1\r\n$4\r\nPING\r\n'],
  ['SSH', 'SSH-2.0-x\r\n'],
])('%s is refused', (_what, text) => {
  expect(sniff(ascii(text), ['http'])).toEqual(NO_MATCH);
});

test.each([
  'a b',
  'a/b',
  'a@b',
  'a:b',
  'a:99999',
  '[::1',
  '::1',
  '[a]',
  '[fe80::1%25eth0]',
  'a,b',
  'ä.example',
])('Host %s is refused', (host) => {
  expect(sniff(request('GET / HTTP/1.1', `Host: ${host}`))).toEqual(NO_MATCH);
});

test('a header section that is longer than what may be peeked at is told as such', () => {
  const long = ascii(`GET / HTTP/1.1\r\nHost: a.example\r\nCookie: ${'c'.repeat(20_000)}`);
  expect(sniff(long.slice(0, 16_383))).toBe('need-more');
  expect(sniff(long.slice(0, 16_384))).toEqual({ proto: 'unknown', why: 'limit' });
});
