/**
 * Stands in for a child of the supervisor. Run with a mode; it answers loads by what their source
 * says: `refuse` fails, `die` ends the process, `hang` stays silent, `burn` does so and works hard;
 * `late` and `sly` are answered late where another bundle was loaded before, and else `sly` fails.
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
  bundle: { generation: number; scripts: { source: string }[]; disabled?: string[] };
}

const LATE_MS = 300;
let loads = 0;
let queue = 0;
let restored = 0;

async function load({ bundle, epoch }: Load): Promise<void> {
  const { source = '' } = bundle.scripts[0] ?? {};
  tell({ kind: 'load', epoch, kv: restored, generation: bundle.generation });
  const isFirst = ++loads === 1;
  if (source === 'die') process.exit(3);
  if (source === 'hang') return;
  if (source === 'burn') for (;;);
  if ((source === 'late' || source === 'sly') && !isFirst) await Bun.sleep(LATE_MS);
  if (source === 'env') tell({ kind: 'env', names: Object.keys(process.env) });
  if (source === 'kv') send({ kind: 'kv', entries: [{ script: 'a', key: 'k', value: 1 }] });
  if (source === 'ask') send({ kind: 'resolve', id: 7, name: 'localhost' });
  const issue = { script: 'a', file: 'a.ts', line: 1, column: 2, kind: 'load', message: 'refused' };
  if (source === 'refuse' || (source === 'sly' && isFirst))
    send({ kind: 'load-failed', generation: bundle.generation, issues: [issue] });
  else send({ kind: 'loaded', generation: bundle.generation, closers: [] });
}

if (mode === 'crash') process.exit(4);
if (mode === 'garbage') process.stdout.write(new Uint8Array(64).fill(0xff));
send({ kind: 'ready' });
const frames = new FrameReader();
for await (const bytes of Bun.stdin.stream()) {
  frames.push(bytes, (_, body) => {
    const message = JSON.parse(new TextDecoder().decode(body)) as {
      kind: string;
      id?: number;
      flows?: unknown[];
      entries?: unknown[];
      start?: { queue?: { index: number } };
      device?: { name: string };
    };
    if (message.kind === 'load') void load(message as unknown as Load);
    else if (message.kind === 'kv-restore') restored += message.entries?.length ?? 0;
    else tell(message);
    if (message.kind === 'kill' && mode !== 'deaf') {
      send({ kind: 'killed', id: message.id, count: message.flows?.length });
    }
    if (message.kind === 'start') queue = message.start?.queue?.index ?? 0;
    if (message.kind === 'device') {
      // Only the first queue can have this one.
      const isRefused = message.device?.name === 'half0' && queue === 1;
      send({ kind: 'device', id: message.id, ...(isRefused ? { error: 'refused' } : {}) });
    }
    if (message.kind === 'device-release') send({ kind: 'device-released' });
    if (message.kind === 'drain') send({ kind: 'drained', cut: 2 });
    if (message.kind === 'configure') {
      process.stdout.write(encodeFrame(FrameKind.FLOW_ROWS, new Uint8Array(256).fill(7)));
    }
    if (message.kind === 'scripts') process.exit(5);
  });
}
