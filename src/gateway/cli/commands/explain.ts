/** `culvert explain`: which listener or script decides about a flow, and why. */
import type { Command } from 'commander';
import type { z } from 'zod';
import { loadConfig } from '../../config/default-config.ts';
import { toLiveConfig } from '../../config/plane.ts';
import { upstreamKinds } from '../../config/upstream-schema.ts';
import { parseTarget } from '../../config/value-texts.ts';
import { explainBody, explanation } from '../../supervisor/api/explain-schemas.ts';
import { ExitCode } from '../../supervisor/exit-code.ts';
import { type Explanation, explain } from '../../supervisor/scripts/explain.ts';
import { toRecordedFlow } from '../../supervisor/scripts/recorded-flow.ts';
import { readBundle } from '../../supervisor/scripts/script-changes.ts';
import { unnumbered } from '../../supervisor/scripts/script-check.ts';
import { CommandError } from '../command-error.ts';
import { type ClientFlags, clientOf, withClient } from '../options.ts';
import { print, printJson } from '../output.ts';
import { scriptLogLine } from '../script-log-line.ts';

interface ExplainFlags extends ClientFlags {
  readonly config?: string;
  readonly dnsName?: string;
}

const EXAMPLES = `
Examples:
  culvert explain 10.0.0.5:40000 203.0.113.7:443
  culvert explain 10.0.0.5 203.0.113.7:53/udp
  culvert explain -c culvert.yaml 'fd00::5' 'fd00::80/icmp'`;

export function addExplain(program: Command): void {
  withClient(program.command('explain <src> <dst[/proto]>'))
    .description('say which listener or script decides about a flow, and why')
    .option('-c, --config <file>', 'of this config, and not of a gateway that runs')
    .option('--dns-name <name>', 'what the client got dst for from DNS: flow.dnsName')
    .addHelpText('after', EXAMPLES)
    .action(explainFlow);
}

async function explainFlow(src: string, dst: string, flags: ExplainFlags): Promise<void> {
  const body = parseFlow(src, dst, flags.dnsName);
  const found =
    flags.config === undefined ? await ask(body, flags) : await offline(body, flags.config);
  if (flags.json) printJson(found);
  else print(formatExplanation(found));
}

async function ask(body: FlowBody, flags: ClientFlags): Promise<Explanation> {
  const headers = { 'Content-Type': 'application/json' };
  const options = { body: JSON.stringify(body), headers };
  return (await clientOf(flags).call(explanation, 'POST', '/v1/explain', options)).value;
}

/** @throws ConfigError, ScriptFileError, BundleRejectedError, ScriptHostError */
function offline(body: FlowBody, file: string): Promise<Explanation> {
  const loaded = loadConfig({ file, stateFolder: '.', overrides: [] });
  const { config } = loaded;
  const { onError } = config.scripts;
  return explain(toRecordedFlow(body), {
    live: toLiveConfig(config, 1),
    generation: unnumbered(readBundle(loaded)),
    aside: { iface: config.device.name, upstreams: upstreamKinds(config), onError },
  });
}

type FlowBody = z.output<typeof explainBody>;

/** @throws CommandError  usage */
function parseFlow(src: string, dst: string, dnsName?: string): FlowBody {
  const [, address = '', proto = 'tcp'] = /^(.*?)(?:\/([a-z]+))?$/.exec(dst) ?? [];
  const from = endpoint(src);
  const to = endpoint(address);
  const parsed = explainBody.safeParse({
    proto,
    src: from.ip,
    ...(from.port === undefined ? {} : { src_port: from.port }),
    dst: to.ip,
    ...(to.port === undefined ? {} : { dst_port: to.port }),
    ...(dnsName === undefined ? {} : { dns_name: dnsName }),
  });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new CommandError(ExitCode.USAGE, `${issue?.path.join('.')}: ${issue?.message}`);
}

function endpoint(text: string): { ip: string; port?: number } {
  const found = parseTarget(text);
  if (found !== undefined) return found;
  throw new CommandError(ExitCode.USAGE, `"${text}" is neither IP nor IP:PORT (IPv6: [IP]:PORT)`);
}

/** Steps as a numbered list, and what comes of them. */
function formatExplanation(found: Explanation): string {
  const { flow, decided_by: by, name, index, verdict, steps, notes } = found;
  const decider = name === undefined ? by : `${by} ${index} "${name}"`;
  return [
    flow,
    ...steps.flatMap((step, at) => formatStep(step).map((line, i) => prefix(at, i) + line)),
    `=> ${verdict}, decided by ${decider}`,
    ...notes.map((note) => `   ${note}`),
  ].join('\n');
}

const prefix = (step: number, line: number): string =>
  line === 0 ? `${String(step + 1).padStart(3)}. ` : '     ';

function formatStep(step: Explanation['steps'][number]): string[] {
  const head = `${step.kind} ${step.index} "${step.name}"`;
  if (step.kind === 'listener') return [`${head}: ${step.matches ? 'matches' : `no, ${step.why}`}`];
  return [
    `${head}: ${step.outcome} (${step.cpu_us} us)`,
    ...step.logs.map((line) => `  ${scriptLogLine(line)}`),
  ];
}
