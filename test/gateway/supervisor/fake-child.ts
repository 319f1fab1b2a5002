/**
 * Stands in for a child of the supervisor. Run with a mode; it answers loads by what their source
 * says: `refuse` fails, `die` ends the process, `hang` stays silent, `burn` does so and works hard;
 * `late` and `sly` are answered late where another bundle was loaded before, and else `sly` fails.
 * A canary takes over so late that nobody waits for it any more. Of a bundle that `drains` the one
 * before, script `a` writes to its KV while it is in memory, and once more. A data plane of the
 * mode `shut` is one to which the first script host has shut a socket.
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
/** More than a supervisor waits for. */
const PROMOTED_MS = 2_200;
let loads = 0;
let queue = 0;
let device = '';
/** A data plane answers in the order of being asked. */
let answers = Promise.resolve();
let restored = 0;

async function load({ bundle, epoch }: Load): Promise<void> {
  const { source = '' } = bundle.scripts[0] ?? {};
  tell({ kind: 'load', epoch, kv: restored, generation: bundle.generation });
  const isFirst = ++loads === 1;
  if (source === 'die') process.exit(3);
  if (source === 'hang') return;
  if (source === 'burn') for (;;);
  if ((source === 'late' || source === 'sly') && !isFirst) await Bun.sleep(LATE_MS);
  if (source === 'fds') tell({ kind: 'fds', queues: process.argv.at(-1) });
  if (source === 'env') tell({ kind: 'env', names: Object.keys(process.env) });
  if (source === 'kv') send({ kind: 'kv', entries: [{ script: 'a', key: 'k', value: 1 }] });
  if (source === 'drains') send({ kind: 'generations', numbers: [1, bundle.generation] });
  if (source === 'ask') send({ kind: 'resolve', id: 7, name: 'localhost' });
  const issue = { script: 'a', file: 'a.ts', line: 1, column: 2, kind: 'load', message: 'refused' };
  if (source === 'refuse' || (source === 'sly' && isFirst))
    send({ kind: 'load-failed', generation: bundle.generation, issues: [issue] });
  else send({ kind: 'loaded', generation: bundle.generation, closers: [] });
  if (source === 'drains') await drain(bundle.generation);
}

async function drain(generation: number): Promise<void> {
  const write = (key: string) => send({ kind: 'kv', entries: [{ script: 'a', key, value: 1 }] });
  await Bun.sleep(LATE_MS);
  write('in time');
  send({ kind: 'generations', numbers: [generation] });
  write('too late');
  tell({ kind: 'drained' });
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
      scripts?: { epoch: number };
      device?: { name: string };
      generation?: number;
    };
    if (message.kind === 'load') void load(message as unknown as Load);
    else if (message.kind === 'kv-restore') restored += message.entries?.length ?? 0;
    else tell(message);
    if (message.kind === 'promote') {
      const { generation } = message;
      setTimeout(() => send({ kind: 'promoted', generation, isDone: true }), PROMOTED_MS);
    }
    if (message.kind === 'kill' && mode !== 'deaf') {
      send({ kind: 'killed', id: message.id, count: message.flows?.length });
    }
    if (message.kind === 'inspect') send({ kind: 'inspected', id: message.id, sockets: [] });
    if (message.kind === 'start') queue = message.start?.queue?.index ?? 0;
    if (message.kind === 'device') {
      const { name = '' } = message.device ?? {};
      // Only the first queue can have this one; and from the other there is no way back.
      const isRefused = (name === 'half0' && queue === 1) || device === 'astray0';
      const answer = { kind: 'device', id: message.id, ...(isRefused && { error: 'refused' }) };
      const isLate = name === 'late0' || name === 'astray0';
      answers = answers.then(() => (isLate ? Bun.sleep(LATE_MS) : undefined));
      answers = answers.then(() => void send(answer));
      device = name;
    }
    if (message.kind === 'start' && mode === 'shut' && message.scripts?.epoch === 0) {
      send({ kind: 'host-socket-shut', socket: 'decisions' });
    }
    if (message.kind === 'host-sockets') send({ kind: 'host-sockets' });
    if (message.kind === 'device-release') send({ kind: 'device-released' });
    if (message.kind === 'drain') send({ kind: 'drained', cut: 2 });
    if (message.kind === 'configure') {
      process.stdout.write(encodeFrame(FrameKind.FLOW_ROWS, new Uint8Array(256).fill(7)));
    }
    if (message.kind === 'scripts') process.exit(5);
  });
}
