import { expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  answerText,
  DatagramKind,
  DECISION_BYTES_MAX,
  DecisionAnswer,
  datagramKind,
  decodeDecisionAnswer,
  decodeDecisionRequest,
  encodeDecisionAnswer,
  encodeDecisionCancel,
  encodeDecisionRequest,
  epochOf,
  failureName,
  HandshakeCode,
  requestIdOf,
  VERDICT_FAILED,
} from '../../../src/gateway/messages/decision.ts';
import type { Decision } from '../../../src/scripts-runtime/decision.ts';
import { FAILURE_KINDS } from '../../../src/scripts-runtime/errors.ts';
import { Service, VerdictCode } from '../../../src/stack/flow-row.ts';
import { CONGESTION_NAMES, type NatVerdict, REJECT_WITHS } from '../../../src/stack/verdict.ts';
import { formatAddress, writeAddress } from '../../../src/stack/wire/ip-address.ts';

const AT = 8;
const makeView = () => new DataView(new ArrayBuffer(DECISION_BYTES_MAX + AT));
const uint32 = fc.nat({ max: 0xffff_ffff });
const uint16 = fc.nat({ max: 0xffff });
const uint8 = fc.nat({ max: 255 });

function roundTrip(decision: Decision) {
  const view = makeView();
  // What an earlier answer left behind must not shine through.
  new Uint8Array(view.buffer).fill(0xee);
  const length = encodeDecisionAnswer(view, AT, 7, 3, decision);
  expect(length).toBeLessThanOrEqual(DECISION_BYTES_MAX);
  const answer = new DecisionAnswer();
  expect(decodeDecisionAnswer(view, AT, length, answer)).toBe(true);
  expect([answer.requestId, answer.epoch]).toEqual([7, 3]);
  expect([answer.generation, answer.script]).toEqual([decision.by.generation, decision.by.script]);
  return { view, length, answer };
}

const BY = { generation: 5, script: 0xffff_ffff };

test('a request of either family arrives as it was sent', () => {
  const address = fc.oneof(
    fc.tuple(fc.constant(4), fc.ipV4(), fc.ipV4()),
    fc.tuple(fc.constant(6), fc.ipV6(), fc.ipV6()),
  );
  fc.assert(
    fc.property(
      address,
      uint32,
      uint32,
      uint16,
      uint16,
      uint16,
      uint8,
      uint8,
      fc.boolean(),
      fc.maxSafeNat(),
      fc.constantFrom(
        [6, 'tcp'] as const,
        [17, 'udp'] as const,
        [1, 'icmp'] as const,
        [58, 'icmp'] as const,
      ),
      (ips, id, epoch, from, to, mss, scale, ttl, ecn, flow, [number, protocol]) => {
        const [family, source, destination] = ips;
        const row = makeView();
        writeAddress(source, row, 0);
        writeAddress(destination, row, 16);
        const view = makeView();
        const length = encodeDecisionRequest(
          view,
          AT,
          id,
          epoch,
          flow,
          number,
          family,
          row,
          0,
          from,
          16,
          to,
          mss,
          scale,
          ttl,
          ecn ? 1 : 0,
        );
        expect(datagramKind(view, AT, length)).toBe(DatagramKind.REQUEST);
        expect([requestIdOf(view, AT), epochOf(view, AT)]).toEqual([id, epoch]);
        const addressLength = family === 4 ? 4 : 16;
        expect(decodeDecisionRequest(view, AT, length)).toEqual({
          flow,
          protocol,
          source: { ip: formatAddress(row, 0, addressLength), port: from, family: family as 4 | 6 },
          destination: {
            ip: formatAddress(row, 16, addressLength),
            port: to,
            family: family as 4 | 6,
          },
          ...(protocol === 'tcp' ? { syn: { mss, windowScale: scale, ttl, ecn } } : {}),
        });
        view.setUint8(AT + 1, 132);
        expect(decodeDecisionRequest(view, AT, length)).toBeUndefined();
      },
    ),
  );
});

test('a cancellation carries id and epoch', () => {
  const view = makeView();
  const length = encodeDecisionCancel(view, AT, 0xffff_fffe, 9);
  expect(datagramKind(view, AT, length)).toBe(DatagramKind.CANCEL);
  expect([requestIdOf(view, AT), epochOf(view, AT)]).toEqual([0xffff_fffe, 9]);
});

test('any bytes are a datagram or none, never an exception', () => {
  const answer = new DecisionAnswer();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.constantFrom(0, 1, 2, 3), (bytes, kind) => {
      const view = makeView();
      new Uint8Array(view.buffer).set(bytes);
      if (kind > 0) view.setUint8(0, kind);
      datagramKind(view, 0, bytes.length);
      decodeDecisionRequest(view, 0, bytes.length);
      if (decodeDecisionAnswer(view, 0, bytes.length, answer)) answerText(view, answer);
    }),
  );
});

test('every kind of failure keeps its name', () => {
  for (const failure of FAILURE_KINDS) {
    const { answer } = roundTrip({ kind: 'failed', failure, by: BY });
    expect([answer.verdict, failureName(answer.detail)]).toEqual([VERDICT_FAILED, failure]);
  }
});

test('a verdict says whether scripts before it have failed', () => {
  const verdict = { kind: 'verdict', verdict: { kind: 'decline' }, by: BY } as const;
  expect(roundTrip(verdict).answer.afterFailure).toBe(false);
  const failures = [{ script: 0, failure: 'cpu' }] as const;
  expect(roundTrip({ ...verdict, failures }).answer.afterFailure).toBe(true);
});

test('decline, reject and redirect arrive with their text', () => {
  const verdict = (v: Extract<Decision, { kind: 'verdict' }>['verdict']) =>
    roundTrip({ kind: 'verdict', verdict: v, by: BY });
  expect(verdict({ kind: 'decline' }).answer.verdict).toBe(VerdictCode.DECLINE);
  for (const how of REJECT_WITHS) {
    const { view, answer } = verdict({ kind: 'reject', with: how, reason: 'weil: ä' });
    expect([answer.verdict, REJECT_WITHS[answer.detail]]).toEqual([VerdictCode.REJECT, how]);
    expect(answerText(view, answer)).toBe('weil: ä');
  }
  const { view, answer } = verdict({
    kind: 'redirect',
    listener: 'welcome',
    note: 'ö'.repeat(300),
  });
  expect([answer.verdict, answer.detail]).toEqual([VerdictCode.REDIRECT, Service.WELCOME]);
  expect(answerText(view, answer)).toBe('ö'.repeat(100));
});

test('a redirect to a listener arrives with its name, also where a service has that name', () => {
  for (const listener of ['web', 'script']) {
    const verdict = { kind: 'redirect', listener, note: '' } as const;
    const { view, answer } = roundTrip({ kind: 'verdict', verdict, by: BY });
    expect([answer.verdict, answer.detail]).toEqual([VerdictCode.REDIRECT, Service.NONE]);
    expect(answerText(view, answer)).toBe(listener);
  }
});

test('a claim arrives as such', () => {
  const { answer } = roundTrip({
    kind: 'verdict',
    verdict: { kind: 'claim', sniff: true },
    by: BY,
  });
  expect(answer).toMatchObject({ verdict: VerdictCode.CLAIM, detail: 0, textLength: 0 });
});

test('a forward with every option arrives, and one with none has none', () => {
  const full = roundTrip({
    kind: 'verdict',
    by: BY,
    verdict: {
      kind: 'forward',
      handshake: 'accept-first',
      to: { ip: 'fd00::1', port: 65_535, family: 6 },
      bind: '10.0.0.9',
      mark: 0xffff_ffff,
      proxyProtocol: 2,
      connectTimeoutMs: 1,
      idleTimeoutMs: 2,
      halfCloseTimeoutMs: 3,
      maxBytes: 2 ** 50,
      congestion: 'newreno',
      via: 'pool-b',
    },
  });
  const { answer, view } = full;
  expect(answerText(view, answer)).toBe('pool-b');
  expect(formatAddress(view, answer.toAt, 16)).toBe('fd00::1');
  expect(formatAddress(view, answer.bindAt, 4)).toBe('10.0.0.9');
  expect(answer).toMatchObject({
    verdict: VerdictCode.FORWARD,
    detail: HandshakeCode['accept-first'],
    toFamily: 6,
    toPort: 65_535,
    bindFamily: 4,
    mark: 0xffff_ffff,
    proxyProtocol: 2,
    connectTimeoutMs: 1,
    idleTimeoutMs: 2,
    halfCloseTimeoutMs: 3,
    maxBytes: 2 ** 50,
    congestion: CONGESTION_NAMES.indexOf('newreno') + 1,
  });
  const plain = roundTrip({
    kind: 'verdict',
    by: BY,
    verdict: { kind: 'forward', handshake: 'dial-first' },
  });
  expect(plain.answer).toMatchObject({
    detail: 0,
    toFamily: 0,
    bindFamily: 0,
    mark: -1,
    maxBytes: 0,
    congestion: 0,
    textLength: 0,
  });
});

test('a NAT arrives with its target, whether it masquerades, and its idle time', () => {
  const nat = (v: Omit<NatVerdict, 'kind'>) =>
    roundTrip({ kind: 'verdict', by: BY, verdict: { kind: 'nat', ...v } });
  const { answer, view } = nat({
    to: { ip: 'fd00::1', port: 53, family: 6 },
    masquerade: true,
    idleTimeoutMs: 4000,
  });
  expect(formatAddress(view, answer.toAt, 16)).toBe('fd00::1');
  expect(answer).toMatchObject({
    verdict: VerdictCode.NAT,
    toFamily: 6,
    toPort: 53,
    masquerade: true,
    idleTimeoutMs: 4000,
  });
  expect(nat({ masquerade: false }).answer).toMatchObject({
    verdict: VerdictCode.NAT,
    toFamily: 0,
    masquerade: false,
    idleTimeoutMs: 0,
  });
});
