import { describe, expect, test } from 'bun:test';
import { HttpConnectTalk } from '../../../../src/gateway/dataplane/upstream/http-connect.ts';
import { TalkState } from '../../../../src/gateway/dataplane/upstream/proxy-talk.ts';
import { CLOSE_REASON_NAMES } from '../../../../src/stack/close-reason.ts';
import { writeAddress } from '../../../../src/stack/wire/ip-address.ts';

function talkTo(ip = '203.0.113.7', port = 443, user = '', password = ''): HttpConnectTalk {
  const view = new DataView(new ArrayBuffer(16));
  const family = writeAddress(ip, view, 0) === 4 ? 4 : 6;
  return new HttpConnectTalk({ view, at: 0, family, port }, user, password);
}

function feed(talk: HttpConnectTalk, text: string): { state: TalkState; taken: number } {
  let taken = 0;
  for (const byte of Buffer.from(text, 'latin1')) {
    taken++;
    const state = talk.push(byte);
    if (state !== TalkState.WAIT) return { state, taken };
  }
  return { state: TalkState.WAIT, taken };
}

const requestOf = (talk: HttpConnectTalk) => new TextDecoder().decode(talk.request);
const reasonOf = (talk: HttpConnectTalk) => CLOSE_REASON_NAMES[talk.failure.reason];

describe('the request', () => {
  test('names the target twice, as RFC 9112 §3.2 wants it', () => {
    expect(requestOf(talkTo())).toBe(
      'CONNECT 203.0.113.7:443 HTTP/1.1\r\nHost: 203.0.113.7:443\r\n\r\n',
    );
  });

  test('an IPv6 address stands in brackets', () => {
    expect(requestOf(talkTo('2001:db8::1', 80))).toStartWith('CONNECT [2001:db8::1]:80 HTTP/1.1');
  });

  test('user and password go by Basic, RFC 7617', () => {
    expect(requestOf(talkTo('203.0.113.7', 443, 'Aladdin', 'open sesame'))).toContain(
      'Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n',
    );
  });
});

describe('the answer', () => {
  test.each([
    ['without fields', 'HTTP/1.1 200 Connection established\r\n\r\n'],
    ['of HTTP/1.0', 'HTTP/1.0 200 OK\r\n\r\n'],
    ['without a reason', 'HTTP/1.1 200\r\n\r\n'],
    [
      'with fields that mean nothing here',
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nVia: x\r\n\r\n',
    ],
    ['of another 2xx', 'HTTP/1.1 204 No Content\r\n\r\n'],
    ['with bare line feeds', 'HTTP/1.1 200 OK\nVia: x\n\n'],
    ['behind an interim one', 'HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\n'],
  ])('%s ends with its empty line, and not a byte later', (_, answer) => {
    expect(feed(talkTo(), `${answer}SSH-2.0-x\r\n`)).toEqual({
      state: TalkState.DONE,
      taken: answer.length,
    });
  });

  test.each([
    [403, 'dial-unreachable', 'icmp'],
    [451, 'dial-unreachable', 'icmp'],
    [500, 'dial-failed', 'rst'],
    [502, 'dial-failed', 'rst'],
    [503, 'dial-failed', 'rst'],
    [504, 'dial-timeout', 'icmp'],
    [101, 'proxy-failed', 'rst'],
    [301, 'proxy-failed', 'rst'],
    [400, 'proxy-failed', 'rst'],
    [404, 'proxy-failed', 'rst'],
    [405, 'proxy-failed', 'rst'],
    [407, 'proxy-failed', 'rst'],
  ])('status %i refuses the flow as %s', (status, reason, how) => {
    const talk = talkTo();
    expect(feed(talk, `HTTP/1.1 ${status} No\r\n`).state).toBe(TalkState.FAILED);
    expect(reasonOf(talk)).toBe(reason);
    expect(talk.failure.how).toBe(how as 'rst');
    expect(talk.why).toStartWith(`HTTP ${status}`);
  });

  test.each([
    ['another protocol', 'SSH-2.0-OpenSSH_9.9\r\n'],
    ['HTTP/2', 'HTTP/2 200\r\n'],
    ['no digits', 'HTTP/1.1 2x0 OK\r\n'],
    ['nothing', '\r\n'],
    ['SOCKS', '\x05\x00'],
  ])('garbage: %s fails at its first wrong byte', (_, answer) => {
    const talk = talkTo();
    const { state, taken } = feed(talk, answer);
    expect(state).toBe(TalkState.FAILED);
    expect(taken).toBeLessThanOrEqual(11);
    expect(reasonOf(talk)).toBe('proxy-failed');
  });

  test('a header that does not end is given up after 16 KiB', () => {
    const talk = talkTo();
    const { state, taken } = feed(talk, `HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(4000)}`);
    expect(state).toBe(TalkState.FAILED);
    expect(taken).toBe(16 * 1024 + 1);
  });

  test('interim answers without end are given up all the same', () => {
    const talk = talkTo();
    const { state } = feed(talk, 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(1000));
    expect(state).toBe(TalkState.FAILED);
  });
});
