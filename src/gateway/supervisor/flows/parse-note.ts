/** Reads a note about a flow; the host that wrote it runs code of strangers. */
import { z } from 'zod';
import { type FlowNote, NOTE_ALPN_MAX, NOTE_NAME_MAX } from '../../../scripts-runtime/flow-note.ts';

const name = z.string().max(NOTE_NAME_MAX);
const flowNote: z.ZodType<FlowNote> = z.object({
  sniff: z
    .object({
      proto: z.enum(['tls', 'http', 'quic', 'ssh', 'dns', 'unknown']),
      sni: name.exactOptional(),
      host: name.exactOptional(),
      alpn: z.array(name).max(NOTE_ALPN_MAX).exactOptional(),
    })
    .exactOptional(),
  dnsName: name.exactOptional(),
  rule: name.exactOptional(),
  seenName: name.exactOptional(),
});

/** @returns undefined for what is no note */
export function parseNote(text: string): FlowNote | undefined {
  try {
    return flowNote.safeParse(JSON.parse(text)).data;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
