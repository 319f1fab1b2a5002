/** A line that a script wrote, in the log of the gateway. */

import { flowId } from '../../flow-filter/flow-id.ts';
import type { FromScriptHost } from '../../messages/script-control.ts';
import type { Logger } from '../log/logger.ts';
import type { HostEnd } from './host-process.ts';

/** Fields that are not for a script to choose: they say who wrote a line, and when. */
const OWN_FIELDS: ReadonlySet<string> = new Set([
  'level',
  'time',
  'msg',
  'pid',
  'hostname',
  'event',
  'flow_id',
  'script',
  'script_version',
  // With `method` and `socket` beside it, pino would take the line for a request of node:http.
  'headers',
]);

/** Writes the line; a field of the script that has a name of ours gets `script.` in front. */
export function logScript(log: Logger, line: Extract<FromScriptHost, { kind: 'log' }>): void {
  const { script, generation, flow, fields = {}, message, level } = line;
  const own = Object.entries(fields).map(([name, value]): [string, unknown] => [
    OWN_FIELDS.has(name) ? `script.${name}` : name,
    value,
  ]);
  const id = flow === undefined ? {} : { flow_id: flowId(flow) };
  log[level](
    { ...Object.fromEntries(own), event: 'script', script, script_version: generation, ...id },
    message,
  );
}

/** Why a host is gone; `script`: the one that was entered last, if it is one that serves. */
export function logHostEnd(
  log: Logger,
  { script, pid }: { readonly script: string | undefined; readonly pid: number },
  end: HostEnd,
): void {
  if (end.cause === 'crash') {
    const { code, signal, protocolError } = end.exit;
    log.error({ script, code, signal, err: protocolError, pid }, 'script-host-exited');
  } else {
    const inside = end.cause === 'socket' ? {} : { inside_ms: end.insideMs };
    log.error({ script, kind: end.cause, ...inside, pid }, 'script-host-killed');
  }
}
