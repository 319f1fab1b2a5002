/** Files of flows to decide again: captures, or what `culvert flows --json` printed. */
import { readFileSync, statSync } from 'node:fs';
import { z } from 'zod';
import type { RecordedFlow } from '../../scripts-runtime/recorded-flow.ts';
import { toRecordedFlow } from '../supervisor/scripts/recorded-flow.ts';
import { CaptureError } from './capture.ts';
import { flowsOfCapture } from './captured-flows.ts';

/** It is read whole. */
const FILE_BYTES_MAX = 1024 ** 3;

/** The file cannot be used; the message begins with its path. */
export class FlowsFileError extends Error {
  override readonly name = 'FlowsFileError';
  readonly code = 'FLOWS_FILE';
}

const port = z.number().int().min(0).max(65_535);
/** The fields of a flow in the API that say what began it. */
const listedFlow = z.object({
  id: z.string().optional(),
  proto: z.enum(['tcp', 'udp', 'icmp']),
  src: z.union([z.ipv4(), z.ipv6()]),
  src_port: port,
  dst: z.union([z.ipv4(), z.ipv6()]),
  dst_port: port,
  seen_name: z.string().optional(),
  start: z.iso.datetime({ offset: true }).optional(),
});
const flowList = z.union([
  z.object({ flows: z.array(listedFlow) }).transform(({ flows }) => flows),
  z.array(listedFlow),
]);

/**
 * @param limit  flows at most
 * @throws FlowsFileError
 */
export function readFlowsFile(file: string, limit: number): RecordedFlow[] {
  const bytes = readBytes(file);
  if (bytes[0] === '{'.charCodeAt(0) || bytes[0] === '['.charCodeAt(0)) {
    return readList(file, new TextDecoder().decode(bytes)).slice(0, limit);
  }
  try {
    return flowsOfCapture(bytes, limit);
  } catch (cause) {
    if (!(cause instanceof CaptureError)) throw cause;
    throw new FlowsFileError(`${file}: ${cause.message}`, { cause });
  }
}

function readBytes(file: string): Uint8Array {
  try {
    const { size } = statSync(file);
    if (size <= FILE_BYTES_MAX) return readFileSync(file);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new FlowsFileError(`${file} cannot be read: ${code}`, { cause });
  }
  throw new FlowsFileError(`${file} is larger than ${FILE_BYTES_MAX} bytes: cut it with editcap`);
}

function readList(file: string, text: string): RecordedFlow[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FlowsFileError(`${file}: ${(cause as Error).message}`, { cause });
  }
  const parsed = flowList.safeParse(value);
  if (parsed.success) return parsed.data.map(toRecorded);
  const [issue] = parsed.error.issues;
  const place = issue?.path.join('.') || 'the whole';
  throw new FlowsFileError(
    `${file}: ${place}: ${issue?.message ?? ''} (expected what \`culvert flows --json\` prints)`,
  );
}

const toRecorded = ({
  id,
  start,
  seen_name,
  ...addresses
}: z.output<typeof listedFlow>): RecordedFlow => ({
  ...(id === undefined ? {} : { id }),
  ...(start === undefined ? {} : { atMs: Date.parse(start) }),
  ...toRecordedFlow({ ...addresses, dns_name: seen_name }),
});
