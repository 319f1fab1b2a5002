/** Paths that swallow packets above a length, and say nothing: RFC 4821, RFC 8899. */
import { describe, expect, test } from 'bun:test';
import { Counter } from '../../../src/stack/counters.ts';
import type { ReceivedSegment } from '../../support/scripted-peer.ts';
import type { RigOptions, TcpRig } from '../../support/tcp-rig.ts';
import { inState } from '../../support/tcp-states.ts';
import { sendTooBig } from '../../support/too-big.ts';

/** Payload bytes of the longest packet that a segment leaves in. */
const packetBytes = ({ gsoSize, payload }: ReceivedSegment): number => gsoSize || payload.length;

const suspicions = (rig: TcpRig): number => rig.counters.get(Counter.BLACK_HOLES_SUSPECTED);

/** A connection with `bytes` in flight of which the peer has got nothing. */
function inFlight(options: RigOptions, bytes = 10_000): TcpRig {
  const rig = inState('ESTABLISHED', options);
  rig.send(bytes);
  rig.peer.readAll();
  return rig;
}

/** Lets the retransmission timer run out once more. @returns the segment that is sent again */
function timeOut(rig: TcpRig): ReceivedSegment {
  const before = rig.counters.get(Counter.TCP_TIMEOUTS);
  for (;;) {
    rig.waitForFrame();
    const [first] = rig.peer.readAll();
    if (rig.counters.get(Counter.TCP_TIMEOUTS) > before) return first!;
  }
}

/** A flow whose segments became shorter, and then arrived. @returns where the next byte stands */
function shortened(options: RigOptions): { rig: TcpRig; next: number } {
  const rig = inFlight(options);
  timeOut(rig);
  timeOut(rig);
  const again = timeOut(rig);
  expect(packetBytes(again)).toBe(1024);
  rig.peer.sends(`. 1:1(0) ack ${1 + again.payload.length} win 512`);
  let end = 1 + again.payload.length;
  while (rig.tcb.flightSize > 0) {
    for (const segment of rig.peer.readAll()) {
      end = Math.max(end, rig.peer.relative(segment) + segment.payload.length);
    }
    rig.clock.advance(10_000);
    rig.peer.sends(`. 1:1(0) ack ${end} win 512`);
  }
  return { rig, next: end };
}

for (const sack of [true, false]) {
  const title = sack ? 'with SACK' : 'without SACK';

  describe(`${title}: a full-sized segment that times out three times`, () => {
    for (const [family, timestamps, size] of [
      [4, false, 1024],
      [4, true, 1024],
      [6, false, 1220],
      [6, true, 1208],
    ] as const) {
      test(`goes on in packets of ${size} (IPv${family}, timestamps ${timestamps})`, () => {
        const rig = inFlight({ family, timestamps, sack });
        const { mss } = rig.tcb;
        expect(packetBytes(timeOut(rig))).toBe(mss);
        expect(packetBytes(timeOut(rig))).toBe(mss);
        expect(packetBytes(timeOut(rig))).toBe(size);
        expect(suspicions(rig)).toBe(1);
      });
    }

    test('goes on so though the peer is alive and sends', () => {
      const rig = inFlight({ sack });
      timeOut(rig);
      rig.peer.sends('P. 1:101(100) ack 1 win 512');
      rig.peer.readAll();
      timeOut(rig);
      timeOut(rig);
      expect(rig.tcb.mss).toBe(1024);
    });

    test('becomes shorter still, and has its size back when the shortest is lost as well', () => {
      const rig = inFlight({ sack });
      const sizes = Array.from({ length: 10 }, () => packetBytes(timeOut(rig)));
      expect(sizes).toEqual([1460, 1460, 1024, 1024, 512, 512, 256, 256, 1460, 1460]);
      expect(suspicions(rig)).toBe(1);
    });

    test('IPv6: is never cut below the least MTU, and has its size back (RFC 8200 §5)', () => {
      const rig = inFlight({ family: 6, sack });
      const sizes = Array.from({ length: 6 }, () => packetBytes(timeOut(rig)));
      expect(sizes).toEqual([1440, 1440, 1220, 1220, 1440, 1440]);
    });

    test('cuts the threshold once, as one timeout does', () => {
      const rig = inFlight({ sack });
      timeOut(rig);
      const { ssthresh } = rig.tcb;
      timeOut(rig);
      timeOut(rig);
      expect(rig.tcb.ssthresh).toBe(ssthresh);
      // One segment of the size that was.
      expect(rig.tcb.cwnd).toBe(1460);
    });
  });

  test(`${title}: a timeout of another segment begins the count again`, () => {
    const rig = inFlight({ sack });
    timeOut(rig);
    timeOut(rig);
    rig.peer.sends('. 1:1(0) ack 1461 win 512');
    rig.peer.readAll();
    timeOut(rig);
    timeOut(rig);
    expect(rig.tcb.mss).toBe(1460);
    timeOut(rig);
    expect(rig.tcb.mss).toBe(1024);
  });

  test(`${title}: a short segment that times out says nothing of the path`, () => {
    const rig = inFlight({ sack }, 1000);
    for (let i = 0; i < 6; i++) timeOut(rig);
    expect(rig.tcb.mss).toBe(1460);
    expect(suspicions(rig)).toBe(0);
  });

  describe(`${title}: when the shorter segments have arrived`, () => {
    test('one packet goes out in the old size, and the others stay short (RFC 4821 §7)', () => {
      const { rig, next } = shortened({ sack });
      rig.send(20_000);
      const [probe, ...others] = rig.peer.readAll();
      expect(rig.peer.relative(probe!)).toBe(next);
      expect(packetBytes(probe!)).toBe(1460);
      expect(others.length).toBeGreaterThan(0);
      expect(others.map(packetBytes).every((bytes) => bytes <= 1024)).toBe(true);
    });

    test('a probe that arrives gives segments their size back', () => {
      const { rig, next } = shortened({ sack });
      rig.send(20_000);
      rig.peer.readAll();
      rig.clock.advance(10_000);
      rig.peer.sends(`. 1:1(0) ack ${next + 1460} win 512`);
      expect(rig.tcb.mss).toBe(1460);
      expect(rig.tcb.fullMss).toBe(0);
    });

    test('the next flow of the client begins full, as nothing is sure yet', () => {
      const { rig } = shortened({ sack });
      rig.connect(rig.newPeer({ port: 40_001 }));
      expect(rig.tcb.mss).toBe(1460);
    });

    for (const bytes of [700, 1200]) {
      test(`${bytes} bytes of data are no probe: they say nothing of the old size`, () => {
        const { rig } = shortened({ sack });
        rig.send(bytes);
        expect(rig.peer.readAll().map(packetBytes)).toEqual([Math.min(bytes, 1024)]);
        takeMore(rig);
        expect(rig.tcb.mss).toBe(1024);
      });
    }

    test('a flow that fills its window waits until there is room for a probe', () => {
      const { rig } = shortened({ sack });
      // The window is full before there is anything to find out.
      rig.tcb.fullMss = 0;
      rig.tcb.cwnd = rig.tcb.ssthresh = 20_480;
      rig.send(200_000);
      rig.peer.readAll();
      rig.tcb.fullMss = 1460;
      const sizes: number[] = [];
      for (let una = rig.tcb.sndUna - rig.tcb.iss; !sizes.includes(1460); una += 2048) {
        rig.clock.advance(1000);
        rig.peer.sends(`. 1:1(0) ack ${una + 2048} win 512`);
        sizes.push(...rig.peer.readAll().map(packetBytes));
        expect(sizes.length).toBeLessThan(5);
      }
    });
  });
}

/** Acknowledges everything that is in flight. */
function takeMore(rig: TcpRig): void {
  rig.clock.advance(10_000);
  const end = (rig.tcb.sndNxt - rig.peer.serverIss) >>> 0;
  rig.peer.sends(`. 1:1(0) ack ${end} win 512`);
  rig.peer.readAll();
}

/** Payload bytes of the full packets with which another flow of the client begins. */
function mssOfNextFlow(rig: TcpRig): number {
  rig.peer.readAll();
  rig.connect(rig.newPeer({ port: 40_001 + rig.owner.flows.length }));
  return rig.tcb.mss;
}

describe('a probe that is lost', () => {
  /** Sends on; the first packet, the probe, is lost, and all others that are not `lost`, arrive. */
  function loseProbe(rig: TcpRig, sack: boolean, { lost = 0, tooBig = 0 } = {}): ReceivedSegment {
    while (rig.tcb.cwnd < 6_000) {
      rig.send(1_000);
      rig.peer.readAll();
      takeMore(rig);
    }
    const una = (rig.tcb.sndUna - rig.peer.serverIss) >>> 0;
    rig.send(8_000);
    const [probe, ...others] = rig.peer.readAll();
    expect(packetBytes(probe!)).toBe(1460);
    if (tooBig > 0) sendTooBig(rig, una, tooBig);
    const last = others.at(-1)!;
    const end = rig.peer.relative(last) + last.payload.length;
    rig.clock.advance(10_000);
    for (let i = 0; i < 3; i++) {
      const blocks = sack ? ` <nop,nop,sack ${una + 1460 + lost * 1024}:${end}>` : '';
      rig.peer.sends(`. 1:1(0) ack ${una} win 512${blocks}`);
    }
    // Duplicate ACKs let new data out as well.
    const again = rig.peer.readAll().find((segment) => rig.peer.relative(segment) === una);
    takeMore(rig);
    takeMore(rig);
    return again!;
  }

  for (const sack of [true, false]) {
    const title = sack ? 'with SACK' : 'without SACK';

    test(`${title}: goes again in shorter packets, and the window stays (RFC 4821 §3)`, () => {
      const { rig } = shortened({ sack });
      const { cwnd, ssthresh } = rig.tcb;
      expect(packetBytes(loseProbe(rig, sack))).toBe(1024);
      const least = Math.min(cwnd, ssthresh);
      expect(rig.tcb.ssthresh).toBeGreaterThanOrEqual(least);
      if (sack) expect(rig.tcb.cwnd).toBeGreaterThanOrEqual(least);
      expect(rig.tcb.mss).toBe(1024);
    });

    test(`${title}: tells the next flow of the client where to begin`, () => {
      const { rig } = shortened({ sack });
      loseProbe(rig, sack);
      rig.connect(rig.newPeer({ port: 40_001 }));
      expect(rig.tcb.mss).toBe(1024);
    });

    test(`${title}: is forgotten when a later one arrives`, () => {
      const { rig } = shortened({ sack });
      loseProbe(rig, sack);
      rig.tcb.cwnd = 10_000;
      rig.send(8_000);
      rig.peer.readAll();
      takeMore(rig);
      expect(rig.tcb.mss).toBe(1460);
      rig.connect(rig.newPeer({ port: 40_001 }));
      expect(rig.tcb.mss).toBe(1460);
    });

    test(`${title}: and an error about it: the error says where the next flow begins`, () => {
      const { rig } = shortened({ sack });
      loseProbe(rig, sack, { tooBig: 1300 });
      expect(rig.tcb.fullMss).toBe(1260);
      expect(rig.tcb.mtuProbes).toBe(0);
      expect(mssOfNextFlow(rig)).toBe(1260);
    });

    test(`${title}: and one of the size that an error told, which arrives: both are right`, () => {
      const { rig } = shortened({ sack });
      loseProbe(rig, sack, { tooBig: 1300 });
      rig.tcb.cwnd = 10_000;
      rig.send(8_000);
      expect(packetBytes(rig.peer.read()!)).toBe(1260);
      rig.peer.readAll();
      takeMore(rig);
      expect(rig.tcb.mss).toBe(1260);
      expect(mssOfNextFlow(rig)).toBe(1260);
    });

    test(`${title}: is repeated twice, and then no more (RFC 8899 §5.1.2)`, () => {
      const { rig } = shortened({ sack });
      for (let i = 0; i < 3; i++) loseProbe(rig, sack);
      rig.send(8_000);
      expect(
        rig.peer
          .readAll()
          .map(packetBytes)
          .every((bytes) => bytes <= 1024),
      ).toBe(true);
      expect(rig.tcb.fullMss).toBe(0);
    });
  }

  for (const [losses, mss] of [
    [1, 1024],
    [2, 1024],
    [3, 256],
  ] as const) {
    test(`where packets have 256 bytes: after ${losses} the next flow begins with ${mss}`, () => {
      const { rig } = shortened({ sack: true });
      rig.tcb.mss = 256;
      for (let i = 0; i < losses; i++) {
        // No silence ends the window that all of the data needs.
        rig.send(100);
        takeMore(rig);
        rig.tcb.cwnd = rig.tcb.ssthresh = 12_000;
        loseProbe(rig, true);
      }
      expect(mssOfNextFlow(rig)).toBe(mss);
    });
  }

  test('with others is no sign of a hole, and is repeated (RFC 4821 §7.6.4)', () => {
    const { rig } = shortened({ sack: true });
    for (let i = 0; i < 4; i++) loseProbe(rig, true, { lost: 1 });
    expect(rig.tcb.fullMss).toBe(1460);
    expect(mssOfNextFlow(rig)).toBe(1460);
  });
});
