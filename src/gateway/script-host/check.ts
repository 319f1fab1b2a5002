import { NO_CONNS } from '../../scripts-runtime/conns/no-conns.ts';
import { ScriptHost } from '../../scripts-runtime/host.ts';
import { Replay } from '../../scripts-runtime/offline/replay.ts';
import type { TestFailure, TestReport } from '../../scripts-runtime/offline/report.ts';
import { runScriptTests } from '../../scripts-runtime/offline/run-tests.ts';
import type {
  AskedVerdict,
  ExplainedVerdict,
  KvEntry,
  RecordedFlow,
  ScriptBundle,
  ScriptIssue,
  ToScriptHost,
} from '../messages/script-control.ts';
import { processClock } from './clock.ts';
import { ControlChannel } from './control-channel.ts';
import { SERVICES } from './host-loop.ts';

const DRIVE_MS = 5;
/** Failures of tests that are told; nobody reads more. */
const FAILURES_MAX = 50;
const WARM_UP_ROUNDS = 3;
/** Lines that scripts write about one flow, likewise. */
const LOGS_MAX = 100;

/**
 * Reads one `load`, does it, and answers. After that it says what the bundle would decide about
 * flows, as often as it is asked. Ends the process when the supervisor is gone.
 */
export async function checkOneBundle(): Promise<void> {
  const control = new ControlChannel();
  const messages: ToScriptHost[] = [];
  let kv: readonly KvEntry[] = [];
  let replay: Replay | undefined;
  let bundle: ScriptBundle | undefined;
  for (;;) {
    const isOpen = control.read((message) => messages.push(message));
    for (const message of messages.splice(0)) {
      if (message.kind === 'kv-restore') kv = kv.concat(message.entries);
      else if (message.kind === 'load') {
        ({ bundle } = message);
        await check(bundle, control);
      } else if (message.kind === 'ask' && bundle !== undefined) {
        const { flows, isExplained = false, startMs = Date.now() } = message;
        if (replay === undefined) {
          if (isExplained) await warmUp({ ...bundle, kv }, flows[0]);
          replay = await Replay.load({ ...bundle, kv }, startMs);
        }
        const verdicts = await ask(replay, flows, isExplained);
        control.send({ kind: 'asked', id: message.id, verdicts });
      } else if (message.kind === 'test' && bundle !== undefined) {
        control.send({ kind: 'tested', ...(await test(bundle)) });
      } else if (message.kind === 'report') {
        bundle = message.bundle;
        control.send({ kind: 'reported', report: await report(message, control) });
      } else throw new Error(`expected a bundle, not ${message.kind}`);
    }
    if (!isOpen) process.exit(bundle === undefined ? 1 : 0);
  }
}

async function check(bundle: ScriptBundle, control: ControlChannel): Promise<void> {
  const { generation } = bundle;
  const host = makeHost(control);
  // A script may wait while it loads, and nothing else drives its timers here.
  const drive = setInterval(() => host.expire(processClock.now()), DRIVE_MS);
  const issues = await host.load(bundle);
  clearInterval(drive);
  control.send(
    issues.length === 0
      ? { kind: 'loaded', generation, closers: [] }
      : { kind: 'load-failed', generation, issues },
  );
}

/** Runs tests for their author, who wants to know all about them. */
const report = (
  { bundle, filter, isCovered = false }: Extract<ToScriptHost, { kind: 'report' }>,
  control: ControlChannel,
): Promise<TestReport> =>
  runScriptTests(bundle, {
    ...(filter === undefined ? {} : { filter }),
    isCovered,
    onStart: (file, path) => control.send({ kind: 'testing', test: [file, ...path].join(' > ') }),
  });

/** Runs the scripts' own tests; each that fails is an issue with its place. */
async function test(
  bundle: ScriptBundle,
): Promise<{ passed: number; failures: readonly ScriptIssue[] }> {
  const { passed, files } = await runScriptTests(bundle);
  const failures = files.flatMap(({ script, file, tests, failure }) => [
    ...(failure === undefined ? [] : [issueOf(script, file, '', failure)]),
    ...tests.flatMap(({ path, failure: one }) =>
      one === undefined ? [] : [issueOf(script, file, `${path.join(' > ')}: `, one)],
    ),
  ]);
  return { passed, failures: failures.slice(0, FAILURES_MAX) };
}

function issueOf(
  script: string,
  file: string,
  name: string,
  { message, position }: TestFailure,
): ScriptIssue {
  const { line = 0, column = 0 } = position ?? {};
  return {
    ...{ script, line, column, kind: 'test', message: name + message },
    file: position?.file ?? file,
  };
}

/** A host that is never asked. What scripts log while they load is worth showing. */
const makeHost = (control: ControlChannel): ScriptHost =>
  new ScriptHost(
    {
      ...processClock,
      epochMs: Date.now,
      enter: () => {},
      leave: () => {},
      answer: () => {},
      resolve: () => {},
      conns: NO_CONNS,
      log: (line) => control.send({ kind: 'log', ...line }),
      kv: () => {},
      metrics: () => {},
      closedTold: () => {},
      stats: () => {},
    },
    SERVICES,
  );

/** What a decision costs is that of a gateway, whose engine has run before. */
async function warmUp(bundle: ScriptBundle, flow: RecordedFlow | undefined): Promise<void> {
  if (flow === undefined) return;
  const replay = await Replay.load(bundle, Date.now());
  for (let i = 0; i < WARM_UP_ROUNDS; i++) await replay.decide(flow);
}

async function ask(
  replay: Replay,
  flows: readonly RecordedFlow[],
  isExplained: boolean,
): Promise<AskedVerdict[]> {
  const verdicts: AskedVerdict[] = [];
  for (const flow of flows) {
    const decided = await replay.decide(flow);
    const { kind, to } = decided.verdict;
    verdicts.push({
      ...{ kind, text: decided.text },
      ...(to === undefined ? {} : { to }),
      ...(isExplained ? { explained: toExplained(decided) } : {}),
    });
  }
  return verdicts;
}

function toExplained(decided: Awaited<ReturnType<Replay['decide']>>): ExplainedVerdict {
  const { flow: _, text: __, ...rest } = decided;
  const logs = decided.logs.slice(0, LOGS_MAX);
  return { ...rest, logs, logsLeft: decided.logs.length - logs.length };
}
