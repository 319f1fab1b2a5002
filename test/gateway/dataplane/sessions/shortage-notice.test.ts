import { expect, test } from 'bun:test';
import { Errno } from '../../../../src/ffi/errno.ts';
import { ShortageNotice } from '../../../../src/gateway/dataplane/sessions/shortage-notice.ts';
import type { FromDataPlane } from '../../../../src/gateway/messages/control.ts';
import type { Instant } from '../../../../src/stack/time.ts';

test('a shortage is told once in ten seconds, with how many flows it cost since', () => {
  const told: FromDataPlane[] = [];
  const notice = new ShortageNotice((message) => told.push(message));
  const at = (seconds: number) => (seconds * 1_000_000) as Instant;
  notice.note(Errno.EMFILE, at(100));
  for (let i = 1; i < 10; i++) notice.note(Errno.ENOBUFS, at(100 + i));
  expect(told).toHaveLength(1);
  notice.note(Errno.ENFILE, at(111));
  expect(told[1]).toEqual({
    kind: 'log',
    level: 'warn',
    event: 'socket-shortage',
    fields: { why: 'ENFILE', flows: 10 },
  });
});
