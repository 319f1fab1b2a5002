/**
 * Stands in for a child of the supervisor. Run with a mode; it answers loads by what their source
 * says: `refuse` fails, `die` ends the process, `hang` stays silent, the rest loads.
 */
import {
  encodeFrame,
  encodeJsonFrame,
  FrameKind,
  FrameReader,
} from '../../../src/gateway/messages/framing.ts';

const [mode = ''] = process.argv.slice(2);
const send = (message: unknown) => process.stdout.write(encodeJsonFrame(message));
/** Tells what it was told, as text: the data plane's log has no nested fields. */
const tell = (seen: object) =>
  send({
    kind: 'log',
    level: 'info',
    event: 'seen',
    script: 'a',
    generation: 1,
    message: 'seen',
    fields: { seen: JSON.stringify(seen) },
  });

interface Load {
  kind: 'load';
  epoch: number;
  bundle: { generation: number; scripts: { source: string }[]; kv: unknown[]; disabled?: string[] };
}

function load({ bundle, epoch }: Load): void {
  const { source = '' } = bundle.scripts[0] ?? {};
  tell({ kind: 'load', epoch, kv: bundle.kv.length, generation: bundle.generation });
  if (source === 'die') process.exit(3);
  if (source === 'hang') return;
  if (source === 'kv') send({ kind: 'kv', entries: [{ script: 'a', key: 'k', value: 1 }] });
  if (source === 'ask') send({ kind: 'resolve', id: 7, name: 'localhost' });
  const issue = { script: 'a', file: 'a.ts', line: 1, column: 2, kind: 'load', message: 'refused' };
  if (source === 'refuse')
    send({ kind: 'load-failed', generation: bundle.generation, issues: [issue] });
  else send({ kind: 'loaded', generation: bundle.generation });
}

if (mode === 'crash') process.exit(4);
if (mode === 'garbage') process.stdout.write(new Uint8Array(64).fill(0xff));
send({ kind: 'ready' });
const frames = new FrameReader();
for await (const bytes of Bun.stdin.stream()) {
  frames.push(bytes, (_, body) => {
    const message = JSON.parse(new TextDecoder().decode(body)) as { kind: string; serial?: number };
    if (message.kind === 'load') load(message as unknown as Load);
    else tell(message);
    if (message.kind === 'kill') send({ kind: 'killed', serial: message.serial, found: true });
    if (message.kind === 'drain') send({ kind: 'drained', cut: 2 });
    if (message.kind === 'configure') {
      process.stdout.write(encodeFrame(FrameKind.FLOW_ROWS, new Uint8Array(192).fill(7)));
    }
    if (message.kind === 'scripts') process.exit(5);
  });
}
