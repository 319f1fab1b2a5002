/** Whatever a network does, both streams arrive whole, both ends close, and nothing is left. */
import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { type Conversation, converse } from '../support/lossy-link.ts';
import { FULL_OFFLOAD, NO_OFFLOAD } from '../support/memory-device.ts';

const anyConversation: fc.Arbitrary<Conversation> = fc.record({
  link: fc.record({
    seed: fc.nat(),
    lossPerMille: fc.constantFrom(0, 10, 50, 150),
    doublePerMille: fc.constantFrom(0, 20, 200),
    delayUs: fc.constantFrom(50, 1000, 20_000),
    jitterUs: fc.constantFrom(0, 500, 10_000),
    cuts: fc.boolean(),
  }),
  rig: fc.record({
    family: fc.constantFrom(4 as const, 6 as const),
    capabilities: fc.constantFrom(FULL_OFFLOAD, NO_OFFLOAD),
    settings: fc.record({ slabBytesPerFlow: fc.constantFrom(20_000, 150_000, 2_000_000) }),
    stackIss: fc.constantFrom(1, 0x7fff_f000, 0xffff_f000),
  }),
  endpoint: fc.record({
    source: fc.constant('198.18.0.1'),
    destination: fc.constant('198.18.0.80'),
    iss: fc.constantFrom(1, 0x7fff_f000, 0xffff_f000),
    mss: fc.constantFrom(100, 536, 1460),
    length: fc.integer({ min: 0, max: 120_000 }),
    buffer: fc.constantFrom(1500, 20_000, 300_000),
    timestamps: fc.boolean(),
    scaling: fc.boolean(),
    frame: fc.constantFrom(1, 1460, 30_000),
  }),
  serverLength: fc.integer({ min: 0, max: 120_000 }),
  ownerPace: fc.constantFrom(700, 20_000, 10_000_000),
  clientPace: fc.constantFrom(700, 20_000, 10_000_000),
});

/** Makes the parts agree: addresses of the family, and no frames of one byte for a long stream. */
function consistent(conversation: Conversation): Conversation {
  const { endpoint, rig } = conversation;
  const isIpv6 = rig.family === 6;
  const frame = endpoint.frame === 1 && endpoint.length > 2000 ? 700 : endpoint.frame;
  return {
    ...conversation,
    endpoint: {
      ...endpoint,
      source: isIpv6 ? 'fd00::1' : endpoint.source,
      destination: isIpv6 ? 'fd00::80' : endpoint.destination,
      frame: rig.capabilities?.vnetHeader ? frame : Math.min(frame, endpoint.mss),
    },
  };
}

test('both streams arrive whole over a network that loses, doubles, delays and reorders', () => {
  fc.assert(
    fc.property(anyConversation, (conversation) => {
      const rig = converse(consistent(conversation));
      rig.expectEmpty();
      expect(rig.flow.calls.at(-1)).toStartWith('closed eof');
    }),
    {
      numRuns: 75,
      includeErrorInReport: true,
      // A counterexample that is still large is better than a test that only took too long.
      interruptAfterTimeLimit: 120_000,
      markInterruptAsFailure: true,
    },
  );
}, 150_000);
