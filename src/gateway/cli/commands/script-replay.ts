/** `culvert script replay` and `diff`: what scripts decide about flows that were seen before. */
import { type Command, InvalidArgumentError } from 'commander';
import type { ReplayedVerdict } from '../../../scripts-runtime/offline/report.ts';
import type { RecordedFlow } from '../../../scripts-runtime/recorded-flow.ts';
import { formatEndpoint } from '../../../stack/verdict.ts';
import { FlowsFileError, readFlowsFile } from '../../author/flows-file.ts';
import { readBundle } from '../../author/script-sources.ts';
import { replayAside } from '../../author/work-aside.ts';
import { ExitCode } from '../../supervisor/exit-code.ts';
import { CommandError } from '../command-error.ts';
import { withTimeout } from '../options.ts';
import { formatTable, print, printJson } from '../output.ts';
import type { Finish } from '../program.ts';

interface ReplayFlags {
  readonly json?: boolean;
  readonly limit: number;
  readonly root?: string;
  readonly exitCode?: boolean;
  readonly timeout: number;
}

interface DiffFlags extends ReplayFlags {
  readonly flows: string;
}

export function addScriptReplay(script: Command, finish: Finish): void {
  withReplay(script.command('replay <flows> <script...>'))
    .description('decide flows of a capture (pcap, pcapng) or of `culvert flows --json` again')
    .addHelpText('after', ORDER_HELP)
    .action(replay);
  withReplay(script.command('diff <old> <new>'))
    .description('show which flows two versions of a script decide differently')
    .requiredOption('--flows <file>', 'a capture, or what `culvert flows --json` printed')
    .option('--exit-code', 'end with 1 when there are differences')
    .addHelpText('after', ORDER_HELP)
    .action(async (before: string, after: string, flags: DiffFlags) =>
      finish(await diff(before, after, flags)),
    );
}

const ORDER_HELP =
  '\nIn place of scripts a config can be named: then all of its scripts are asked.';

const withReplay = (command: Command): Command =>
  withTimeout(command)
    .option('--limit <count>', 'flows at most', parseCount, 100_000)
    .option('--root <folder>', 'also import files below this folder')
    .option('--json', 'print JSON');

function parseCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count > 0) return count;
  throw new InvalidArgumentError('expected a number of flows');
}

async function replay(file: string, scripts: string[], flags: ReplayFlags): Promise<void> {
  const verdicts = await decide(scripts, flowsOf(file, flags.limit), flags);
  if (flags.json) printJson(verdicts);
  else print(formatVerdicts(verdicts));
}

async function diff(before: string, after: string, flags: DiffFlags): Promise<ExitCode> {
  const flows = flowsOf(flags.flows, flags.limit);
  const old = await decide([before], flows, flags);
  const changes = (await decide([after], flows, flags)).flatMap((now, index) => {
    const then = old[index];
    return then === undefined || then.text === now.text
      ? []
      : [{ flow: now.flow, before: summaryOf(then), after: summaryOf(now) }];
  });
  if (flags.json) printJson({ flows: flows.length, changed: changes.length, changes });
  else print(formatChanges(changes, flows.length));
  return flags.exitCode && changes.length > 0 ? ExitCode.FAILED : ExitCode.OK;
}

interface Summary {
  readonly text: string;
  readonly script?: string;
}

interface Change {
  readonly flow: RecordedFlow;
  readonly before: Summary;
  readonly after: Summary;
}

const summaryOf = ({ text, script }: ReplayedVerdict): Summary => ({
  text,
  ...(script === undefined ? {} : { script }),
});

const decide = (
  scripts: readonly string[],
  flows: readonly RecordedFlow[],
  { root, timeout }: ReplayFlags,
): Promise<readonly ReplayedVerdict[]> => replayAside(readBundle(scripts, root), flows, timeout);

function flowsOf(file: string, limit: number): readonly RecordedFlow[] {
  try {
    return readFlowsFile(file, limit);
  } catch (cause) {
    if (!(cause instanceof FlowsFileError)) throw cause;
    throw new CommandError(ExitCode.FAILED, cause.message, { cause });
  }
}

/** Rows, and below them how often each verdict came. */
function formatVerdicts(verdicts: readonly ReplayedVerdict[]): string {
  const rows = verdicts.map(({ flow, text, script, cpuUs }) => [
    flow.protocol,
    formatEndpoint(flow.source),
    formatEndpoint(flow.destination),
    script,
    cpuUs,
    text,
  ]);
  const table = formatTable(['PROTO', 'SOURCE', 'DESTINATION', 'SCRIPT', 'US', 'VERDICT'], rows);
  const counts = Map.groupBy(verdicts, ({ text }) => text)
    .entries()
    .map(([text, list]) => [list.length, text] as const)
    .toArray()
    .sort(([a], [b]) => b - a);
  return `${table}\n\n${formatTable(['FLOWS', 'VERDICT'], counts)}`;
}

function formatChanges(changes: readonly Change[], flows: number): string {
  const summary = `${changes.length} of ${flows} flows are decided differently`;
  if (changes.length === 0) return summary;
  const rows = changes.map(({ flow, before, after }) => [
    flow.protocol,
    formatEndpoint(flow.source),
    formatEndpoint(flow.destination),
    before.text,
    after.text,
  ]);
  const heads = ['PROTO', 'SOURCE', 'DESTINATION', 'BEFORE', 'AFTER'];
  return `${formatTable(heads, rows)}\n\n${summary}`;
}
