import { expect, test } from 'bun:test';
import {
  EchoIdentifiers,
  NO_IDENTIFIER,
} from '../../../../src/gateway/dataplane/sessions/echo-identifiers.ts';

test('identifiers of echoes come in turn, each in use once', () => {
  const identifiers = new EchoIdentifiers(0xfffe);
  expect([identifiers.take(), identifiers.take(), identifiers.take()]).toEqual([0xffff, 0, 1]);
  identifiers.release(0);
  expect(identifiers.take()).toBe(2);
  for (let i = 0; i < 0x1_0000 - 3; i++) identifiers.take();
  expect(identifiers.take()).toBe(NO_IDENTIFIER);
  identifiers.release(0x1234);
  expect(identifiers.take()).toBe(0x1234);
});
