/** When a client was answered, as the row of its flow says it. */
import { expect, test } from 'bun:test';
import { Handshake, noteHandshake } from '../../../src/stack/flow-row.ts';
import { DataPlaneRig } from '../../support/dataplane-rig.ts';

/** Nobody listens there. */
const PORT = 1;

test.each([
  [false, 'dial-first'],
  [true, 'accept-first'],
] as const)('accept first: %p', async (acceptFirst, handshake) => {
  using rig = new DataPlaneRig({ port: PORT, acceptFirst });
  rig.dial();
  await rig.until(() => rig.endedRows.length > 0);
  expect(rig.endedRows[0]).toMatchObject({ closeReason: 'dial-refused', handshake });
});

test('who talks to a script was answered at once', () => {
  using rig = new DataPlaneRig({ port: PORT });
  const row = rig.claim();
  expect(rig.row(row)?.handshake).toBe('accept-first');
});

test('one that waits for its verdict was not, and a cookie stays one', () => {
  using rig = new DataPlaneRig({ port: PORT });
  const { stack, peer } = rig;
  peer.sends('S 0:0(0) win 65535 <mss 1460>');
  const at = stack.rowAt(0);
  expect(rig.row(0)?.handshake).toBeUndefined();
  for (const handshake of [Handshake.COOKIE, Handshake.DIAL_FIRST]) {
    noteHandshake(stack.arena.view, at, handshake);
  }
  expect(rig.row(0)?.handshake).toBe('cookie');
});
