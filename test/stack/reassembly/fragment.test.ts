import { describe, expect, test } from 'bun:test';
import { DropReason } from '../../../src/stack/drop-reason.ts';
import { checkFragment, type Fragment } from '../../../src/stack/reassembly/fragment.ts';

const TCP = 6;
const UDP = 17;

const fragment = (fields: Partial<Fragment>): Fragment => ({
  family: 4,
  headerAt: 0,
  countedHeaderBytes: 20,
  payloadAt: 20,
  payloadLength: 1200,
  offset: 1200,
  hasMore: true,
  identification: 1,
  protocol: TCP,
  ecn: 0,
  ...fields,
});

const GOOD: Readonly<Record<string, Partial<Fragment>>> = {
  'in the middle': {},
  'the last, of any length': { hasMore: false, payloadLength: 3 },
  'that ends the longest packet': { hasMore: false, offset: 65_512, payloadLength: 3 },
  'the first, with a whole TCP header': { offset: 0, payloadLength: 24 },
  'of UDP, with eight bytes': { protocol: UDP, offset: 0, payloadLength: 8 },
};

const BAD: Readonly<Record<string, Partial<Fragment>>> = {
  'that is empty': { payloadLength: 0 },
  'that ends between two units and is not the last': { payloadLength: 1201 },
  'that ends behind the longest packet': { hasMore: false, offset: 65_512, payloadLength: 4 },
  'the first, with part of a TCP header (RFC 1858 §3)': { offset: 0, payloadLength: 16 },
  'with the flags of a TCP header (RFC 3128 §2)': { offset: 8 },
};

describe('a fragment', () => {
  for (const [what, fields] of Object.entries(GOOD)) {
    test(`${what} is taken`, () => expect(checkFragment(fragment(fields))).toBe(DropReason.NONE));
  }
  for (const [what, fields] of Object.entries(BAD)) {
    test(`${what} is refused`, () =>
      expect(checkFragment(fragment(fields))).toBe(DropReason.BAD_FRAGMENT));
  }
});
