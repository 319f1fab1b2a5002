/** The supervisor's side of scripts with a real script host, and the test as the data plane. */
import { afterEach, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { monotonicNow } from '../../../../src/ffi/clock.ts';
import { allocateStruct, SharedMemory } from '../../../../src/ffi/memory.ts';
import { closeFd, receive, send, setNonBlocking, socketPair } from '../../../../src/ffi/sockets.ts';
import type { ScriptsState } from '../../../../src/gateway/messages/control.ts';
import {
  answerText,
  DECISION_BYTES_MAX,
  DecisionAnswer,
  decodeDecisionAnswer,
  encodeDecisionRequest,
  VERDICT_FAILED,
} from '../../../../src/gateway/messages/decision.ts';
import { HOST_MEMORY_BYTES } from '../../../../src/gateway/messages/flow-notes.ts';
import type { CanaryTrial } from '../../../../src/gateway/supervisor/scripts/generation-parts.ts';
import { Generations } from '../../../../src/gateway/supervisor/scripts/generations.ts';
import { ScriptHost } from '../../../../src/gateway/supervisor/scripts/script-host.ts';
import { Trials } from '../../../../src/gateway/supervisor/scripts/trials.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../../src/scripts-runtime/limits.ts';
import { writeAddress } from '../../../../src/stack/wire/ip-address.ts';
import { command } from '../../script-host/host-process.ts';
import { rememberingLog, until } from '../support.ts';

const TCP = 6;
const CANARY: CanaryTrial = {
  mode: 'canary',
  share: 0.3,
  errors: 0.2,
  windowMs: 10_000,
  forMs: 0,
};
/** A busy machine is not what is tested. */
const LIMITS = { ...DEFAULT_SCRIPT_LIMITS, wallMs: 60_000 };
const MIB = 1024 * 1024;
const PAGE_BYTES = 4096;

/** A script whose answer names it. */
const sourceOf = (version: number, body = `return reject({ reason: 'v${version}' });`): string =>
  `import { reject } from 'culvert';\nexport default { flow() { ${body} } };\n`;

const testOf = (reason: string): string =>
  `import { test, flow, run, expect } from 'culvert:test';
import script from './a';
test('says who it is', async () => {
  const { verdict } = await run(script, flow({ src: '10.0.0.1:4000', dst: '192.0.2.1:80' }));
  expect(verdict.reason).toEqual('${reason}');
});
`;

interface Answer {
  readonly generation: number;
  readonly text: string;
  readonly isFailed: boolean;
}

/** Asks as a data plane does. */
class Asker {
  readonly answers = new Map<number, Answer>();
  asked = 0;
  epoch = 0;
  readonly #fd: number;
  readonly #io = allocateStruct(DECISION_BYTES_MAX);
  readonly #addresses = allocateStruct(32);

  constructor(fd: number) {
    this.#fd = fd;
    setNonBlocking(fd);
    writeAddress('198.18.0.2', this.#addresses.view, 0);
    writeAddress('192.0.2.1', this.#addresses.view, 16);
  }

  ask(count: number): void {
    for (let i = 0; i < count; i++) {
      const id = ++this.asked;
      const { view } = this.#io;
      const { view: from } = this.#addresses;
      const length = encodeDecisionRequest(
        ...([view, 0, id, this.epoch, id, TCP, 4, from, 0, 40_000, 16, 80] as const),
        ...([1460, 7, 64, 0] as const),
      );
      if (send(this.#fd, this.#io.address, length) < 0) this.asked--;
    }
    this.read();
  }

  read(): void {
    const answer = new DecisionAnswer();
    for (;;) {
      const length = receive(this.#fd, this.#io.address, DECISION_BYTES_MAX);
      if (length <= 0) return;
      if (!decodeDecisionAnswer(this.#io.view, 0, length, answer)) throw new Error('no answer');
      const { requestId, generation, verdict } = answer;
      if (this.answers.has(requestId)) throw new Error(`${requestId} was answered twice`);
      const text = answerText(this.#io.view, answer);
      this.answers.set(requestId, { generation, text, isFailed: verdict === VERDICT_FAILED });
    }
  }

  async all(): Promise<void> {
    await until(() => {
      this.read();
      return this.answers.size === this.asked;
    }, 'the rest of the answers');
  }
}

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

function setUp() {
  const [dataPlane, scriptHost] = socketPair('seqpacket');
  // No script here claims a connection, but the host has a socket for that.
  const conns = socketPair('seqpacket');
  const asker = new Asker(dataPlane);
  const { lines, log } = rememberingLog();
  const page = () => {
    const { fd, buffer } = SharedMemory.create('host', HOST_MEMORY_BYTES);
    return { fd, view: new DataView(buffer) };
  };
  const host = new ScriptHost({
    log,
    fds: () => [scriptHost, conns[1]],
    pages: [page(), page()],
    iface: () => 'x0',
    monotonicUs: monotonicNow,
    onState: ({ epoch }: ScriptsState) => {
      asker.epoch = epoch;
    },
    hostCommand: command('__script-host'),
    checkCommand: command('__script-check'),
    replayFlows: () => 100,
    onCanary: (counts) => trials.onCanary(counts),
    onDecided: (flows, left) => trials.onDecided(flows, left),
    onLost: (why) => trials.onHostLost(why),
  });
  const trials: Trials = new Trials({
    log,
    host,
    onStopped: (generation) => generations.trialStopped(generation),
    onPassed: async () => void (await generations.promote()),
  });
  const activator = {
    ...bound(host),
    check: (...given: Parameters<typeof host.check>) => check(given),
  };
  let check: (given: Parameters<typeof host.check>) => ReturnType<typeof host.check> = (given) =>
    host.check(...given);
  const generations: Generations = new Generations(activator, LIMITS, Date.now, {
    trials,
  });
  const put = (source: string, trial?: Parameters<typeof generations.apply>[2]) =>
    generations.apply(
      'api',
      (active) => ({ ...active, scripts: [{ name: 'a', file: 'a.ts', source }] }),
      trial,
    );
  ends.push(async () => {
    trials.abort('the test is over');
    await host.stop();
    for (const fd of [dataPlane, scriptHost, ...conns]) closeFd(fd);
  });
  return {
    ...{ asker, host, trials, generations, put, lines },
    /** Where the check is not what is tested. */
    skipChecks: () => {
      check = async () => ({ issues: [] });
    },
  };
}

const bound = (host: ScriptHost) => ({
  activate: host.activate.bind(host),
  drained: host.drained.bind(host),
});

const residentBytes = (pid: number | undefined): number =>
  Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * PAGE_BYTES;

test('100 reloads, each with a canary, lose no decision and give none wrong', async () => {
  const { asker, host, generations, put, skipChecks } = setUp();
  skipChecks();
  await put(sourceOf(1));
  const load = setInterval(() => asker.ask(5), 5);
  ends.unshift(async () => clearInterval(load));
  let base = 0;
  for (let version = 2; version <= 101; version++) {
    await put(sourceOf(version), { trial: CANARY });
    const before = asker.answers.size;
    await until(() => asker.answers.size > before + 20, 'decisions during the canary');
    await generations.promote();
    if (version === 20) base = residentBytes(host.pid);
  }
  clearInterval(load);
  await asker.all();
  await host.drained();
  expect(asker.answers.size).toBeGreaterThan(2000);
  // The generation has the number of the version, and decides as its source says.
  for (const { generation, text, isFailed } of asker.answers.values()) {
    expect({ text, isFailed }).toEqual({ text: `v${generation}`, isFailed: false });
  }
  const ofCanaries = new Set([...asker.answers.values()].map(({ generation }) => generation));
  expect(ofCanaries.size).toBe(101);
  expect(generations.active.number).toBe(101);
  const grown = residentBytes(host.pid) - base;
  expect(grown / MIB).toBeLessThan(48);
}, 240_000);

test('a canary that throws is stopped, and the old bundle has all flows again', async () => {
  const { asker, generations, put, lines, skipChecks, trials } = setUp();
  skipChecks();
  await put(sourceOf(1));
  await put(sourceOf(2, 'throw new Error("no");'), { trial: CANARY });
  expect(generations.trial?.generation.number).toBe(2);
  asker.ask(50);
  await asker.all();
  const failed = [...asker.answers.values()].filter(({ isFailed }) => isFailed);
  expect(failed).toHaveLength(3);
  await until(() => generations.trial === undefined, 'the end of the trial');
  expect(lines.some(({ msg }) => msg === 'trial-stopped')).toBe(true);
  expect(trials.outcomes).toEqual({ promoted: 0, stopped: 1, aborted: 0 });
  expect(generations.active.number).toBe(1);
  await expect(generations.promote()).rejects.toThrow('no bundle is on trial');
  // The number of the one that failed is not given again.
  expect((await put(sourceOf(3))).generation.number).toBe(3);
}, 30_000);

test('a canary that kills its host is stopped with it', async () => {
  const { asker, generations, put, host, skipChecks } = setUp();
  skipChecks();
  await put(sourceOf(1));
  const hang = 'Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1); return reject();';
  await put(sourceOf(2, hang), { trial: { ...CANARY, share: 1 } });
  const { pid } = host;
  asker.ask(1);
  await until(() => generations.trial === undefined, 'the end of the trial');
  await until(() => host.pid !== undefined && host.pid !== pid, 'the next host');
  // Flow 1 died with the host.
  asker.answers.set(1, { generation: 0, text: 'v1', isFailed: true });
  asker.ask(10);
  await asker.all();
  expect([...asker.answers.values()].map(({ text }) => text)).toEqual(Array(11).fill('v1'));
}, 30_000);

test('a canary whose time is over takes over by itself', async () => {
  const { generations, put, skipChecks } = setUp();
  skipChecks();
  await put(sourceOf(1));
  await put(sourceOf(2), { trial: { ...CANARY, forMs: 50 } });
  expect(generations.active.number).toBe(1);
  await until(() => generations.active.number === 2, 'the promotion');
}, 30_000);

test('a check tells what the new bundle decides otherwise about flows of late', async () => {
  const { asker, put } = setUp();
  await put(sourceOf(1));
  asker.ask(10);
  await asker.all();
  const same = await put(`${sourceOf(1)}// a comment\n`, { dryRun: true });
  expect(same.replay).toEqual({ flows: 10, different: 0, failed: 0, differences: [] });
  const other = await put(sourceOf(2), { dryRun: true });
  expect(other.replay).toMatchObject({ flows: 10, different: 10 });
  expect(other.replay?.differences[0]).toEqual({
    flow: 'tcp 198.18.0.2:40000 > 192.0.2.1:80',
    before: 'reject reason=v1',
    after: 'reject reason=v2',
  });
}, 60_000);

test('a check runs the tests of a bundle, and refuses it when one fails', async () => {
  const { generations } = setUp();
  const withTest = (reason: string) =>
    generations.apply('api', (active) => ({
      ...active,
      scripts: [
        {
          name: 'a',
          file: 'a.ts',
          source: sourceOf(1),
          tests: { 'a.test.ts': testOf(reason) },
        },
      ],
    }));
  expect((await withTest('v1')).tests).toBe(1);
  await expect(withTest('v2')).rejects.toThrow(/a\.test\.ts:\d+:\d+: says who it is: /);
  expect(generations.active.number).toBe(1);
}, 60_000);

test('a shadow is asked after the fact, and only says what it would have done', async () => {
  const { asker, put, trials, generations, lines } = setUp();
  await put(sourceOf(1));
  await put(sourceOf(2), { trial: { mode: 'shadow' } });
  asker.ask(20);
  await asker.all();
  await until(() => (trials.report.shadow?.compared ?? 0) > 0, 'the comparison');
  expect(trials.report.shadow).toMatchObject({ compared: 20, different: 20, skipped: 0 });
  expect(new Set([...asker.answers.values()].map(({ text }) => text))).toEqual(new Set(['v1']));
  expect(lines.filter(({ msg }) => msg === 'shadow-difference')).toHaveLength(5);
  await generations.promote();
  asker.ask(1);
  await asker.all();
  expect([...asker.answers.values()].at(-1)?.text).toBe('v2');
}, 60_000);

test('a rollback ends what is on trial, and so does another change', async () => {
  const { generations, put, trials, skipChecks } = setUp();
  skipChecks();
  await put(sourceOf(1));
  await put(sourceOf(2), { trial: CANARY });
  const { generation } = await generations.rollback(undefined);
  expect(generation.number).toBe(1);
  await put(sourceOf(3), { trial: CANARY });
  await put(sourceOf(4));
  expect(generations.trial).toBeUndefined();
  expect(generations.active.number).toBe(4);
  expect(trials.outcomes.aborted).toBe(2);
}, 30_000);
