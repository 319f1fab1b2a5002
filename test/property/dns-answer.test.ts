/** Whatever comes from port 53 is read without an error, and gives host names and addresses. */
import { expect, test } from 'bun:test';
import { isIP } from 'node:net';
import fc from 'fast-check';
import { readDnsAnswer } from '../../src/gateway/script-host/dns-answer.ts';
import { dnsAnswer, nameBytes, POINTER, RecordType } from '../support/dns-message.ts';

const HOST_NAME = /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/;

function check(message: Uint8Array): void {
  const answer = readDnsAnswer(message);
  if (answer === undefined) return;
  expect(answer.name).toMatch(HOST_NAME);
  expect(answer.name.length).toBeLessThanOrEqual(253);
  expect(answer.addresses.length).toBeWithin(1, 65);
  for (const { ip, ttlS } of answer.addresses) {
    expect(isIP(ip)).not.toBe(0);
    expect(ttlS).toBeWithin(0, 2 ** 31);
  }
}

const name = fc.constantFrom('a.example', 'b.example', 'www.A.example', '.');
const owner = fc.oneof(
  name.map(nameBytes),
  fc.constant(POINTER),
  fc.tuple(fc.constant(0xc0), fc.nat(255)),
  fc.array(fc.nat(255), { maxLength: 20 }),
);
const record = fc.record({
  owner,
  type: fc.constantFrom(...Object.values(RecordType)),
  data: fc.oneof(
    fc.array(fc.nat(255), { minLength: 4, maxLength: 4 }),
    fc.array(fc.nat(255), { minLength: 16, maxLength: 16 }),
    owner,
  ),
  ttl: fc.nat(2 ** 32 - 1),
});

test('of any records, changed anywhere', () => {
  const fields = fc.record({ name, records: fc.array(record, { maxLength: 80 }) });
  const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 });
  fc.assert(
    fc.property(fields, changes, fc.nat(2000), (answer, changed, length) => {
      const message = dnsAnswer(answer);
      for (const [at, byte] of changed) message[at % message.length] = byte;
      check(message.subarray(0, length));
    }),
    { numRuns: 2000 },
  );
});

test('of any bytes', () => {
  const bytes = fc.uint8Array({ minLength: 12, maxLength: 300 });
  fc.assert(fc.property(bytes, check), { numRuns: 2000 });
});
