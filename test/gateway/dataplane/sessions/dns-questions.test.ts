import { describe, expect, test } from 'bun:test';
import { DnsQuestions } from '../../../../src/gateway/dataplane/sessions/dns-questions.ts';
import type { AnswerTap } from '../../../../src/stack/answer-tap.ts';
import { SessionRig, UdpUpstream } from '../../../support/session-rig.ts';

const ROW = 3;
const QUESTION = 0x01;
const ANSWER = 0x81;

const message = (identifier: number, flags: number, length = 20): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(new ArrayBuffer(length));
  bytes.set([identifier >>> 8, identifier & 0xff, flags].slice(0, length));
  return bytes;
};

/** `?1` asks with identifier 1, `!1` answers. @returns after which steps nothing is awaited */
function doneAfter(steps: readonly string[]): string[] {
  const questions = new DnsQuestions(8);
  questions.begin(ROW, true);
  return steps.filter((step) => {
    const isAnswer = step.startsWith('!');
    const bytes = message(Number(step.slice(1)), isAnswer ? ANSWER : QUESTION);
    const view = new DataView(bytes.buffer);
    if (isAnswer) return questions.onAnswer(ROW, view, 0, bytes.length);
    questions.onQuestion(ROW, view, 0, bytes.length);
    return false;
  });
}

describe('questions to a DNS server are answered', () => {
  test.each([
    ['one by one', ['?1', '!1'], ['!1']],
    ['when two were asked at once', ['?1', '?2', '!2', '!1'], ['!1']],
    ['when one was asked twice', ['?5', '?5', '!5', '!5'], ['!5']],
    ['never by another identifier', ['?1', '!2'], []],
    ['never when one came twice', ['?1', '?2', '!1', '!1', '!2'], []],
    ['never when nobody had asked', ['!1', '?1', '!1'], []],
    ['at the top of the identifiers', ['?65535', '?1', '!1', '!65535'], ['!65535']],
  ])('%s', (_name, steps, expected) => {
    expect(doneAfter(steps)).toEqual(expected.filter((_, i) => i === expected.length - 1));
  });

  test('what is too short, or no question, ends the watch', () => {
    const questions = new DnsQuestions(8);
    for (const bad of [message(1, QUESTION, 11), message(1, ANSWER)]) {
      questions.begin(ROW, true);
      expect(questions.isWatched(ROW)).toBe(true);
      questions.onQuestion(ROW, new DataView(bad.buffer), 0, bad.length);
      expect(questions.isWatched(ROW)).toBe(false);
    }
  });
});

/** Port 53 of an address of our own, where nobody listens. */
const openDns = (): Promise<UdpUpstream> => UdpUpstream.open('127.0.53.53', 53);

describe('a session with port 53', () => {
  test('ends with its answer, which is delivered', async () => {
    using server = await openDns();
    using rig = new SessionRig();
    const row = rig.start({ ip: '127.0.53.53', port: 53 });
    rig.send(row, message(77, QUESTION));
    await rig.until(() => server.lengths.length === 1);
    server.reply(message(77, ANSWER, 120));
    await rig.until(() => rig.ended.length === 1);
    expect(rig.ended).toEqual(['0 eof']);
    expect(rig.sent.map(({ bytes }) => bytes.length)).toEqual([120]);
  });

  test('shows what is answered, where it came from the server', async () => {
    using server = await openDns();
    const seen: number[][] = [];
    const answers = {
      isOn: true,
      answers: (...[row, , length, segmentBytes]: Parameters<AnswerTap['answers']>) =>
        seen.push([row, length, segmentBytes]),
    };
    using rig = new SessionRig({}, undefined, answers);
    const row = rig.start({ ip: '127.0.53.53', port: 53 });
    rig.send(row, message(77, QUESTION));
    await rig.until(() => server.lengths.length === 1);
    server.reply(message(77, ANSWER, 120));
    await rig.until(() => rig.sent.length === 1);
    expect(seen).toEqual([[row, 120, 0]]);
  });

  test('waits for the second of two answers', async () => {
    using server = await openDns();
    using rig = new SessionRig();
    const row = rig.start({ ip: '127.0.53.53', port: 53 });
    rig.send(row, message(1, QUESTION));
    rig.send(row, message(2, QUESTION));
    await rig.until(() => server.lengths.length === 2);
    server.reply(message(2, ANSWER));
    await rig.until(() => rig.sent.length === 1);
    expect(rig.ended).toEqual([]);
    server.reply(message(1, ANSWER));
    await rig.until(() => rig.ended.length === 1);
    // Each alone, though they are of one size.
    expect(rig.sent.map(({ segmentBytes }) => segmentBytes)).toEqual([0, 0]);
  });
});
