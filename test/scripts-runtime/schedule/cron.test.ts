import { expect, test } from 'bun:test';
import { Cron, cronFault } from '../../../src/scripts-runtime/schedule/cron.ts';

test.each([
  ['* * * * *', '2026-01-01T00:00:00Z', '2026-01-01T00:01:00Z'],
  ['* * * * *', '2026-01-01T00:00:59.999Z', '2026-01-01T00:01:00Z'],
  ['*/5 * * * *', '2026-01-01T00:56:00Z', '2026-01-01T01:00:00Z'],
  ['7/20 * * * *', '2026-01-01T00:07:00Z', '2026-01-01T00:27:00Z'],
  ['0 3 * * *', '2026-01-01T03:00:00Z', '2026-01-02T03:00:00Z'],
  ['0 3 * * *', '2026-12-31T04:00:00Z', '2027-01-01T03:00:00Z'],
  ['30 9-17/4 * * 1-5', '2026-11-20T17:30:00Z', '2026-11-23T09:30:00Z'],
  ['0 0 1,15 * *', '2026-02-02T00:00:00Z', '2026-02-15T00:00:00Z'],
  ['0 0 31 * *', '2026-04-01T00:00:00Z', '2026-05-31T00:00:00Z'],
  ['0 0 29 2 *', '2096-03-01T00:00:00Z', '2104-02-29T00:00:00Z'],
  ['0 0 * * 7', '2026-11-21T00:00:00Z', '2026-11-22T00:00:00Z'],
  ['0 0 13 * 5', '2026-11-21T00:00:00Z', '2026-11-27T00:00:00Z'],
  ['0 0 */2 * 5', '2026-11-21T00:00:00Z', '2026-11-27T00:00:00Z'],
])('after %2$s, "%s" comes', (text, after, expected) => {
  expect(cronFault(text)).toBeUndefined();
  expect(new Date(new Cron(text).next(Date.parse(after))).toISOString()).toBe(
    new Date(expected).toISOString(),
  );
});

test.each([
  ['* * * *', 'has not the five fields'],
  ['* * * * * *', 'has not the five fields'],
  ['60 * * * *', '"60" is no minute'],
  ['* 24 * * *', '"24" is no hour'],
  ['* * 0 * *', '"0" is no day of month'],
  ['* * * 13 *', '"13" is no month'],
  ['* * * * 8', '"8" is no day of week'],
  ['*/0 * * * *', '"*/0" is no minute'],
  ['5-1 * * * *', '"5-1" is no minute'],
  ['1,,2 * * * *', '"1,,2" is no minute'],
  ['@daily', 'has not the five fields'],
  ['0 0 30 2 *', '"0 0 30 2 *" never comes'],
])('"%s" is refused', (text, message) => {
  expect(cronFault(text)).toContain(message);
});
