import { NO_CONNS } from '../../scripts-runtime/conns/no-conns.ts';
import { ScriptHost } from '../../scripts-runtime/host.ts';
import { NameBook } from '../../scripts-runtime/offline/name-book.ts';
import { OfflineHost } from '../../scripts-runtime/offline/offline-host.ts';
import type { TestFailure } from '../../scripts-runtime/offline/report.ts';
import { runScriptTests } from '../../scripts-runtime/offline/run-tests.ts';
import { VirtualClock } from '../../scripts-runtime/offline/virtual-clock.ts';
import type {
  AskedVerdict,
  KvEntry,
  RecordedFlow,
  ScriptBundle,
  ScriptIssue,
  ToScriptHost,
} from '../messages/script-control.ts';
import { processClock } from './clock.ts';
import { ControlChannel } from './control-channel.ts';
import { SERVICES } from './host-loop.ts';

/** Failures of tests that are told; nobody reads more. */
const FAILURES_MAX = 50;

/**
 * Reads one `load`, does it, and answers. After that it says what the bundle would decide about
 * flows, as often as it is asked. Ends the process when the supervisor is gone.
 */
export async function checkOneBundle(): Promise<void> {
  const control = new ControlChannel();
  const messages: ToScriptHost[] = [];
  let kv: readonly KvEntry[] = [];
  let asked: Asked | undefined;
  let bundle: ScriptBundle | undefined;
  for (;;) {
    const isOpen = control.read((message) => messages.push(message));
    for (const message of messages.splice(0)) {
      if (message.kind === 'kv-restore') kv = kv.concat(message.entries);
      else if (message.kind === 'load') {
        ({ bundle } = message);
        await check(bundle, control);
      } else if (message.kind === 'ask' && bundle !== undefined) {
        asked ??= await Asked.load({ ...bundle, kv });
        const verdicts = await asked.ask(message.flows);
        control.send({ kind: 'asked', id: message.id, verdicts });
      } else if (message.kind === 'test' && bundle !== undefined) {
        control.send({ kind: 'tested', ...(await test(bundle)) });
      } else throw new Error(`expected a bundle, not ${message.kind}`);
    }
    if (!isOpen) process.exit(bundle === undefined ? 1 : 0);
  }
}

async function check(bundle: ScriptBundle, control: ControlChannel): Promise<void> {
  const { generation } = bundle;
  const issues = await makeHost(control).load(bundle);
  control.send(
    issues.length === 0
      ? { kind: 'loaded', generation }
      : { kind: 'load-failed', generation, issues },
  );
}

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
      stats: () => {},
    },
    SERVICES,
  );

/** A bundle that decides, and nobody acts on it: names are not resolved, and logs go nowhere. */
class Asked {
  readonly #host: OfflineHost;
  readonly #clock: VirtualClock;

  private constructor(host: OfflineHost, clock: VirtualClock) {
    this.#host = host;
    this.#clock = clock;
  }

  static async load(bundle: ScriptBundle): Promise<Asked> {
    const names = new NameBook();
    const clock = new VirtualClock(Date.now());
    const host = new OfflineHost({
      clock,
      resolve: (name) => names.resolve(name),
      show: (endpoint) => names.show(endpoint),
      log: () => {},
    });
    const issues = await host.load(bundle);
    if (issues.length > 0) throw new Error(`it loaded once, and not again: ${issues[0]?.message}`);
    return new Asked(host, clock);
  }

  async ask(flows: readonly RecordedFlow[]): Promise<AskedVerdict[]> {
    const verdicts: AskedVerdict[] = [];
    for (const [index, { id: _, atMs, ...request }] of flows.entries()) {
      if (atMs !== undefined) this.#host.advance(Math.max(0, atMs - this.#clock.epochMs()));
      const { verdict, text } = await this.#host.decide({ flow: index + 1, ...request });
      const { kind, to } = verdict;
      verdicts.push({ kind, text, ...(to === undefined ? {} : { to }) });
    }
    return verdicts;
  }
}
