/** Work of authors in a real process aside, which is ended when it hangs. */
import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { bundleOf, readBundle } from '../../../src/gateway/author/script-sources.ts';
import { replayAside, testAside, WorkLostError } from '../../../src/gateway/author/work-aside.ts';
import { BundleRejectedError } from '../../../src/gateway/supervisor/scripts/change-errors.ts';
import { toRecordedFlow } from '../../../src/gateway/supervisor/scripts/recorded-flow.ts';

setDefaultTimeout(60_000);

/** A process has to start in it. */
const SILENCE_MS = 4_000;

/** The engine does not ask between two steps of this whether it may go on. */
const BOMB = '[].includes.call({ length: 2 ** 53 - 1 }, 1);';

const scriptOf = (body: string) => `import { reject } from 'culvert';
export default { flow(f, env) {
  ${body}
  return reject({ reason: String(env.KV.incr('n', 1)) });
} };`;

const bundle = (source: string, test?: string) =>
  bundleOf([
    {
      name: 'a',
      file: 'a.ts',
      source,
      ...(test === undefined ? {} : { tests: { 'a.test.ts': test } }),
    },
  ]);

const testWith = (body: string): string => `import { flow, run, test } from 'culvert:test';
import script from './a';
test('first', () => {});
test('second', async () => { ${body} });`;

const flows = [1, 2, 3].map((port) =>
  toRecordedFlow({ proto: 'tcp', src: '10.0.0.5', src_port: 1, dst: '192.0.2.1', dst_port: port }),
);

describe('tests', () => {
  test('give the whole report', async () => {
    const report = await testAside(bundle(scriptOf(''), testWith('throw new Error("no")')), {});
    expect(report).toMatchObject({
      ...{ ok: false, passed: 1, failed: 1 },
      files: [{ script: 'a', tests: [{ path: ['first'] }, { path: ['second'] }] }],
    });
    expect(report.files[0]?.tests[1]?.failure?.position?.line).toBe(4);
  });

  test('are those with the filter in their names', async () => {
    const report = await testAside(bundle(scriptOf(''), testWith('')), { filter: 'second' });
    expect(report).toMatchObject({ ok: true, passed: 1, skipped: 1 });
  });

  test.each([
    [
      'of the script',
      scriptOf(BOMB),
      testWith(`await run(script, flow({ src: '10.0.0.5:1', dst: '192.0.2.1:1' }))`),
    ],
    ['of the test', scriptOf(''), testWith(BOMB)],
  ])('with a native bomb %s end with the name of the test', async (_, source, body) => {
    const startedAt = performance.now();
    const lost = await testAside(bundle(source, body), { silenceMs: SILENCE_MS }).catch((e) => e);
    expect(lost).toBeInstanceOf(WorkLostError);
    expect((lost as Error).message).toStartWith('a.test.ts > second: no sign of life for 4000 ms');
    expect(performance.now() - startedAt).toBeLessThan(4 * SILENCE_MS);
  });
});

describe('a replay', () => {
  test('decides flows in order, across what is asked at once, with one KV', async () => {
    const many = Array.from({ length: 250 }, () => flows)
      .flat()
      .slice(0, 250);
    const verdicts = await replayAside(bundle(scriptOf('')), many);
    expect(verdicts).toHaveLength(250);
    expect(verdicts[249]).toMatchObject({
      ...{ flow: many[249], text: 'reject reason=250', script: 'a' },
      ...{ verdict: { kind: 'reject', reason: '250' }, steps: [{ script: 'a' }] },
    });
  });

  test('with a native bomb ends with the flows that it was at', async () => {
    const bomb = bundle(scriptOf(`if (f.dst.port === 3) ${BOMB}`));
    const lost = await replayAside(bomb, flows, SILENCE_MS).catch((error) => error);
    expect(lost).toBeInstanceOf(WorkLostError);
    expect((lost as Error).message).toStartWith('flows 1 to 3: no answer within 4000 ms');
  });

  test('of scripts that do not load is refused', async () => {
    const refused = await replayAside(bundle('export default {'), flows).catch((error) => error);
    expect(refused).toBeInstanceOf(BundleRejectedError);
    expect(() => readBundle(['gone.ts'])).toThrow('gone.ts');
  });
});
