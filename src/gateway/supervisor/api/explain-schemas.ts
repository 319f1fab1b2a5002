/** Shapes of `/v1/explain`. */
import { z } from 'zod';
import { parseTarget } from '../../config/value-texts.ts';

const PORT_MAX = 65_535;
/** Any port that a client could have. */
const SRC_PORT_DEFAULT = 40_000;

/** RFC 1035 §2.3.4, as text. */
const DNS_NAME_MAX = 253;

/** In the one spelling that the gateway compares. */
const address = z.string().transform((text, context) => {
  const found = parseTarget(text);
  if (found !== undefined && found.port === undefined) return found.ip;
  context.addIssue({ code: 'custom', message: `"${text}" is no IP address` });
  return z.NEVER;
});

const port = z.number().int().min(0).max(PORT_MAX);

export const explainBody = z
  .strictObject({
    proto: z.enum(['tcp', 'udp', 'icmp']).default('tcp'),
    src: address,
    /** Of a ping: its identifier. */
    src_port: port.default(SRC_PORT_DEFAULT),
    dst: address,
    /** Of a ping: 0, as it has none. */
    dst_port: port.default(0),
    /** What a DNS answer to the client called `dst`: `flow.dnsName`. */
    dns_name: z.string().max(DNS_NAME_MAX).optional(),
  })
  .refine(({ src, dst }) => src.includes(':') === dst.includes(':'), {
    path: ['dst'],
    message: 'is of another family than src',
  })
  .refine(({ proto, dst_port }) => (proto === 'icmp') === (dst_port === 0), {
    path: ['dst_port'],
    message: 'is needed for tcp and udp, and icmp has none',
  });

const listenerStep = z.object({
  kind: z.literal('listener'),
  index: z.number(),
  name: z.string(),
  matches: z.boolean(),
  why: z.string().exactOptional(),
});

const scriptStep = z.object({
  kind: z.literal('script'),
  index: z.number(),
  name: z.string(),
  outcome: z.string(),
  cpu_us: z.number(),
  logs: z.array(
    z.object({
      level: z.enum(['debug', 'info', 'warn', 'error']),
      message: z.string(),
      fields: z.record(z.string(), z.unknown()).exactOptional(),
    }),
  ),
});

export const explanation = z.object({
  flow: z.string(),
  decided_by: z.enum(['gateway', 'listener', 'script', 'nobody']),
  name: z.string().exactOptional(),
  index: z.number().exactOptional(),
  verdict: z.string(),
  steps: z.array(z.discriminatedUnion('kind', [listenerStep, scriptStep])),
  notes: z.array(z.string()),
});
