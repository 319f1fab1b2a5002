/** What of the writes stands in the log, and how much of it others can fill. */
import { beforeEach, expect, setDefaultTimeout, test } from 'bun:test';
import { Hono } from 'hono';
import type { ApiEnv } from '../../../../src/gateway/supervisor/api/api-env.ts';
import { auditWrites } from '../../../../src/gateway/supervisor/api/audit.ts';
import type { Caller, Peer } from '../../../../src/gateway/supervisor/api/callers.ts';
import { Notices } from '../../../../src/gateway/supervisor/notices.ts';
import { type LogLine, PATIENT_TEST_MS, rememberingLog, until } from '../support.ts';

setDefaultTimeout(PATIENT_TEST_MS);

/** As of lines that repeat. */
const LINES_PER_PERIOD = 20;
const PERIOD_MS = 500;
const NEVER_MS = 60_000;

let lines: readonly LogLine[];
let notices: Notices;
let request: (
  status: 200 | 401 | 403 | 422 | 500,
  token?: string,
  path?: string,
) => Promise<Response>;

/** An API whose answer is told, to callers by name; without one it is a stranger. */
function serve(periodMs: number): void {
  const remembered = rememberingLog();
  lines = remembered.lines;
  notices = new Notices();
  const active = { number: 3 } as never;
  const app = new Hono<ApiEnv>();
  app.use(auditWrites({ activeGeneration: active, notices }, remembered.log, periodMs));
  app.all('*', (context) => {
    const token = context.req.header('Who');
    const caller: Caller = { peer: context.env.peer, scopes: new Set(), token: token ?? '' };
    if (token !== undefined) context.set('caller', caller);
    return context.body(null, Number(context.req.header('Answer')) as 200);
  });
  const peer: Peer = { kind: 'tcp', address: '127.0.0.1:40000' };
  request = async (status, token, path = '/v1/stop') => {
    const headers = { Answer: String(status), ...(token === undefined ? {} : { Who: token }) };
    return app.request(path, { method: 'POST', headers }, { peer });
  };
}
beforeEach(() => serve(NEVER_MS));

const audited = () => lines.filter(({ msg }) => msg === 'audit');

test('a write has a line, without the token that stood in its URL', async () => {
  await request(200, 'ci', '/v1/stop?token=secret&deadline=0s');
  expect(audited()).toEqual([
    expect.objectContaining({
      ...{ event: 'audit', address: '127.0.0.1:40000', token: 'ci', method: 'POST' },
      ...{ path: '/v1/stop', query: 'token=***&deadline=0s', status: 200, result: 'ok' },
      generation: 3,
    }),
  ]);
  expect(notices.next).toBe(2);
});

test('strangers have some lines, and do not take those of others', async () => {
  for (let i = 0; i < 10 * LINES_PER_PERIOD; i++) await request(401);
  expect(audited()).toHaveLength(LINES_PER_PERIOD);
  expect(notices.next - 1).toBe(LINES_PER_PERIOD);
  await request(403, 'look');
  await request(200, 'ci');
  expect(audited().slice(LINES_PER_PERIOD)).toMatchObject([{ token: 'look' }, { token: 'ci' }]);
});

test('so has who has a token, for what is refused and for nothing else', async () => {
  for (let i = 0; i < 2 * LINES_PER_PERIOD; i++) await request(i % 2 === 0 ? 403 : 422, 'look');
  expect(audited()).toHaveLength(LINES_PER_PERIOD);
  for (let i = 0; i < 2 * LINES_PER_PERIOD; i++) await request(i % 2 === 0 ? 200 : 500, 'look');
  expect(audited()).toHaveLength(3 * LINES_PER_PERIOD);
});

test('what was left out is counted, in the log and for who listens', async () => {
  serve(PERIOD_MS);
  const heard: string[] = [];
  notices.listen(() => heard.push(notices.at(notices.next - 1).data));
  const tries = 3 * LINES_PER_PERIOD;
  for (let i = 0; i < tries; i++) await request(401);
  const leftOut = () =>
    lines
      .filter(({ msg }) => msg === 'audit-left-out')
      .reduce((sum, line) => sum + Number(line['left_out']), 0);
  // A slow machine may need more than one period for them.
  await until(() => audited().length + leftOut() === tries, 'the count');
  expect(leftOut()).toBeGreaterThan(0);
  expect(heard.join()).toContain('"caller":"strangers","left_out":');
});
