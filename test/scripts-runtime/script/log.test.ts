/** What becomes of the values that a script gives to its log. */
import { expect, test } from 'bun:test';
import { Diagnostics } from '../../../src/scripts-runtime/bundle/diagnostics.ts';
import { transpile } from '../../../src/scripts-runtime/bundle/transpile.ts';
import { ScriptWorld, syncScriptOf } from '../script-world.ts';

/** The log of a script whose `flow` has this body; its first line is line 3. */
async function logsOf(body: string): Promise<ScriptWorld['logs']> {
  const world = new ScriptWorld();
  await world.load({ a: syncScriptOf(`${body}\nreturn forward();`) });
  expect(world.outcome()).toBe('forward');
  return world.logs;
}

test('an error in a field has its type, its text and a stack in the source', async () => {
  const [line] = await logsOf(`const fail = () => { throw new RangeError('no'); };
    try { fail(); } catch (err) { ctx.log.warn({ err, port: 80 }, 'failed'); }`);
  expect(line).toMatchObject({
    message: 'failed',
    fields: { port: 80, err: { type: 'RangeError', message: 'no' } },
  });
  const { stack } = (line?.fields?.['err'] ?? {}) as { stack: string };
  expect(stack.trimEnd().split('\n')).toEqual([
    expect.stringMatching(/^ {4}at fail \(a\.ts:3:\d+\)$/),
    expect.stringMatching(/^ {4}at flow \(a\.ts:4:\d+\)$/),
  ]);
});

test('what else an error has comes with it, and what caused it', async () => {
  const [line] = await logsOf(`const cause = new TypeError('inner');
    ctx.log.warn({ err: Object.assign(new Error('outer', { cause }), { code: 'x' }) });`);
  expect(line?.fields).toMatchObject({
    err: { type: 'Error', code: 'x', cause: { type: 'TypeError', message: 'inner' } },
  });
});

test('an error alone, or behind a text, is shown with its stack in the source', async () => {
  const logs = await logsOf(`const error = new Error('no');
    ctx.log.error(error); ctx.log.error('failed', error as any); console.error('failed', error);`);
  const shown = expect.stringMatching(/^(failed )?Error: no\n {4}at flow \(a\.ts:3:\d+\)\s*$/);
  expect(logs.map(({ message }) => message)).toEqual([shown, shown, shown]);
});

test('maps, sets, bytes and bigints are shown as what they are', async () => {
  const logs = await logsOf(`const m = new Map([['a', 1]]); const b = new Uint8Array([1, 255]);
    ctx.log.info({ m, s: new Set([2]), b, n: 5n, long: new ArrayBuffer(40) });
    console.log(m, b, new DataView(b.buffer, 1));`);
  expect(logs[0]?.fields).toEqual({
    m: [['a', 1]],
    s: [2],
    b: '2 bytes: 01 ff',
    n: '5',
    long: `40 bytes: ${'00 '.repeat(32)}…`,
  });
  expect(logs[1]?.message).toBe('[["a",1]] "2 bytes: 01 ff" "1 bytes: ff"');
});

test('fields behind the message, as other loggers have it, are shown', async () => {
  const [line] = await logsOf("ctx.log.info('new flow', { port: 80 } as any);");
  expect(line?.message).toBe('new flow {"port":80}');
});

test('a script that breaks what the log uses hurts itself alone', async () => {
  const logs = await logsOf(`const err = new Error('no');
    (globalThis as any).Error = 5; (globalThis as any).Map = undefined;
    Array.prototype.map = () => { throw 1 };
    ctx.log.info({ err }, 'x');`);
  expect(logs[0]).toMatchObject({ message: 'x', fields: { err: { message: 'no' } } });
});

test('an error, a map or a set that holds itself is shown once', async () => {
  const logs = await logsOf(`const err: any = new Error('no'); err.cause = err; err.at = { err };
    const m = new Map(); m.set('m', m); const s = new Set(); s.add([s]); const o: any = {}; o.o = o;
    ctx.log.info({ err, m, s, o }); console.log(m, s);`);
  expect(logs[0]?.fields).toMatchObject({
    err: { message: 'no', cause: '[circular]', at: { err: '[circular]' } },
    m: [['m', '[circular]']],
    s: [['[circular]']],
    o: { o: '[circular]' },
  });
  expect(logs[1]?.message).toBe('[["m","[circular]"]] [["[circular]"]]');
});

test('an error that stands in two fields, or behind what is deeper, is no circle', async () => {
  const [line] = await logsOf(`const cause = new Error('inner');
    const err = Object.assign(new Error('outer', { cause }), { at: { deep: [[1]] } });
    ctx.log.info({ err, cause, both: [cause, cause] });`);
  const inner = { message: 'inner' };
  expect(line?.fields).toMatchObject({ err: { cause: inner }, cause: inner, both: [inner, inner] });
});

test('errors without an end cost a line its rest, not the script its sandbox', async () => {
  const logs = await logsOf(`class Deep extends Error { get cause() { return new Deep('no'); } }
    const all = Array.from({ length: 30 }, () => new Set());
    for (const s of all) for (const other of all) s.add(other);
    ctx.log.info({ all }, 'wide'); ctx.log.info({ err: new Deep('no') }, 'deep');
    console.log(new Map([[1, new Map([[2, new Map([[3, new Map([[4, new Set([5])]])]])]])]]));`);
  expect(logs.slice(0, 2).map(({ message }) => message)).toEqual(['wide', 'deep']);
  expect(logs[2]?.message).toBe('[[1,[[2,[[3,[[4,"[too much]"]]]]]]]]');
});

test('the errors of an AggregateError are shown', async () => {
  const [line] = await logsOf(`const errors = [new TypeError('a'), 5];
    ctx.log.warn({ err: new AggregateError(errors, 'all') });`);
  expect(line?.fields).toMatchObject({
    err: { type: 'AggregateError', message: 'all', errors: [{ type: 'TypeError' }, 5] },
  });
});

test('fields that are too long say so, also where frames of ours are in them', async () => {
  const [line] = await logsOf(`const stack = 'E\\n' + '    at x (culvert/x.js:1:2)\\n'.repeat(200);
    ctx.log.info({ stack, last: 1 });`);
  expect(Object.keys(line?.fields ?? {})).toEqual(['truncated']);
});

test('frames of ours go from the texts of fields, and nothing else does', async () => {
  const [line] = await logsOf(`const text = 'E\\n    at x (culvert/x.js:1:2)\\nrest';
    const open = 'E\\n    at x (culvert/x.js:1:2'; const after = 'kept) (culvert/x.js:1:2)';
    const first = '    at x (culvert/x.js:1:2)\\n    at y (other.ts:1:2)\\n';
    ctx.log.info({ text, nested: JSON.stringify({ text }), open, after, first, list: [first] });`);
  const text = 'E\n    at x (culvert/x.js:1:2)\nrest';
  const first = '    at y (other.ts:1:2)\n';
  expect(line?.fields).toEqual({
    text: 'E\nrest',
    nested: JSON.stringify({ text }),
    open: 'E\n    at x (culvert/x.js:1:2',
    after: 'kept) (culvert/x.js:1:2)',
    first,
    list: [first],
  });
});

test('text of a peer that looks like frames is read in the time of its length', async () => {
  const script = { name: 'a', file: 'a.ts', source: 'export default {};' };
  const code = await transpile(script);
  if (!('sources' in code)) throw new Error('it has no fault');
  const diagnostics = new Diagnostics(script, code);
  const text = `E\n    at ${'(culvert/'.repeat(20_000)}`;
  const from = performance.now();
  expect(diagnostics.withPlaces(text)).toBe(text);
  expect(performance.now() - from).toBeLessThan(500);
});
