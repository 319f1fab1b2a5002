import { describe, expect, test } from 'bun:test';
import {
  type ProxyTarget,
  TalkState,
} from '../../../../src/gateway/dataplane/upstream/proxy-talk.ts';
import { Socks5Talk } from '../../../../src/gateway/dataplane/upstream/socks5.ts';
import { CLOSE_REASON_NAMES } from '../../../../src/stack/close-reason.ts';
import { writeAddress } from '../../../../src/stack/wire/ip-address.ts';

function target(ip: string, port: number): ProxyTarget {
  const view = new DataView(new ArrayBuffer(16));
  return { view, at: 0, family: writeAddress(ip, view, 0) === 4 ? 4 : 6, port };
}

const talkTo = (ip = '203.0.113.7', port = 443, user = '', password = '') =>
  new Socks5Talk(target(ip, port), user, password);

/** Feeds bytes until one does not leave it waiting. @returns its state, and how many it took */
function feed(talk: Socks5Talk, ...bytes: number[]): { state: TalkState; taken: number } {
  let taken = 0;
  for (const byte of bytes) {
    taken++;
    const state = talk.push(byte);
    if (state !== TalkState.WAIT) return { state, taken };
  }
  return { state: TalkState.WAIT, taken };
}

const reasonOf = (talk: Socks5Talk) => CLOSE_REASON_NAMES[talk.failure.reason];

describe('RFC 1928', () => {
  test('a client without a password offers no method but that of none', () => {
    expect([...talkTo().request]).toEqual([5, 1, 0]);
  });

  test('CONNECT to an IPv4 address', () => {
    const talk = talkTo();
    expect(feed(talk, 5, 0)).toEqual({ state: TalkState.SEND, taken: 2 });
    expect([...talk.request]).toEqual([5, 1, 0, 1, 203, 0, 113, 7, 1, 187]);
  });

  test('CONNECT to an IPv6 address', () => {
    const talk = talkTo('2001:db8::1', 80);
    feed(talk, 5, 0);
    const address = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    expect([...talk.request]).toEqual([5, 1, 0, 4, ...address, 0, 80]);
  });

  test.each([
    ['IPv4', [1, 10, 0, 0, 1, 4, 56]],
    ['IPv6', [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 4, 56]],
    ['a name', [3, 2, 104, 105, 4, 56]],
    ['an empty name', [3, 0, 4, 56]],
  ])('a reply with %s as bound address ends with its port, and not a byte later', (_, bound) => {
    const talk = talkTo();
    feed(talk, 5, 0);
    const reply = [5, 0, 0, ...bound];
    expect(feed(talk, ...reply, 0x53, 0x53, 0x48)).toEqual({
      state: TalkState.DONE,
      taken: reply.length,
    });
  });

  test.each([
    [1, 'dial-failed', 'rst', 'general failure'],
    [2, 'dial-unreachable', 'icmp', 'not allowed by its rules'],
    [3, 'dial-unreachable', 'icmp', 'network unreachable'],
    [4, 'dial-unreachable', 'icmp', 'host unreachable'],
    [5, 'dial-refused', 'rst', 'connection refused'],
    [6, 'dial-timeout', 'icmp', 'TTL expired'],
    [7, 'proxy-failed', 'rst', 'command not supported'],
    [8, 'proxy-failed', 'rst', 'address type not supported'],
    [9, 'proxy-failed', 'rst', 'unassigned'],
    [255, 'proxy-failed', 'rst', 'unassigned'],
  ])('reply %i refuses the flow as %s', (reply, reason, how, why) => {
    const talk = talkTo();
    feed(talk, 5, 0);
    expect(feed(talk, 5, reply).state).toBe(TalkState.FAILED);
    expect(reasonOf(talk)).toBe(reason);
    expect(talk.failure.how).toBe(how as 'rst');
    expect(talk.why).toBe(`SOCKS reply ${reply}: ${why}`);
  });

  test.each([
    ['a version of the method', [4]],
    ['a method that was not offered', [5, 2]],
    ['a method of GSS-API', [5, 1]],
    ['a version of the reply', [5, 0, 4]],
    ['a type of address', [5, 0, 5, 0, 0, 9]],
    ['HTTP', [...Buffer.from('HTTP/1.1 400')]],
  ])('garbage: %s fails as the fault of the proxy', (_, bytes) => {
    const talk = talkTo();
    let rest: readonly number[] = bytes;
    let state: TalkState = TalkState.WAIT;
    while (rest.length > 0 && state !== TalkState.FAILED) {
      const result = feed(talk, ...rest);
      state = result.state;
      rest = rest.slice(result.taken);
    }
    expect(state).toBe(TalkState.FAILED);
    expect(reasonOf(talk)).toBe('proxy-failed');
  });

  test('a proxy that wants a password nobody has is told of as such', () => {
    const talk = talkTo();
    expect(feed(talk, 5, 0xff).state).toBe(TalkState.FAILED);
    expect(talk.why).toBe('it wants user and password');
  });
});

describe('RFC 1929', () => {
  test('user and password are offered, and told when the proxy asks for them', () => {
    const talk = talkTo('203.0.113.7', 443, 'ann', 'séc');
    expect([...talk.request]).toEqual([5, 2, 0, 2]);
    expect(feed(talk, 5, 2).state).toBe(TalkState.SEND);
    expect([...talk.request]).toEqual([1, 3, 97, 110, 110, 4, 115, 0xc3, 0xa9, 99]);
    expect(feed(talk, 1, 0).state).toBe(TalkState.SEND);
    expect(talk.request[1]).toBe(1);
  });

  test('a proxy that asks for nothing is told nothing', () => {
    const talk = talkTo('203.0.113.7', 443, 'ann', 'secret');
    feed(talk, 5, 0);
    expect([...talk.request].slice(0, 3)).toEqual([5, 1, 0]);
  });

  test.each([1, 255])('status %i is a refusal of the proxy', (status) => {
    const talk = talkTo('203.0.113.7', 443, 'ann', 'secret');
    feed(talk, 5, 2);
    expect(feed(talk, 1, status).state).toBe(TalkState.FAILED);
    expect(reasonOf(talk)).toBe('proxy-failed');
    expect(talk.why).toBe('it refuses user and password');
  });

  test('another version of the answer is garbage', () => {
    const talk = talkTo('203.0.113.7', 443, 'ann', 'secret');
    feed(talk, 5, 2);
    expect(feed(talk, 5).state).toBe(TalkState.FAILED);
  });
});
