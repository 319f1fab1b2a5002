/** Long transfers over the links of the lossy bench, beside what the theory of Reno expects. */
import type { TcpSettings } from '../../src/stack/tcp/context.ts';
import { CLEAN, type LaneShape } from '../support/lane.ts';
import { converse, type Scenario } from './conversation.ts';

export interface GoodputCell {
  readonly roundTripMs: number;
  readonly fault: string;
  /** Goodput with our stack as sender, and as receiver, in Mbit/s. */
  readonly down: number;
  readonly up: number;
  /** As `down`, with BBR in the place of CUBIC. */
  readonly bbr: number;
  /** What the theory expects: `cleanModel`, or `renoModel` where that is less. */
  readonly model: number;
  /** What no TCP of this kind may exceed: the line, or twice `mathisModel` where that is less. */
  readonly most: number;
}

type Transfers = typeof RANDOM;
type Control = NonNullable<TcpSettings['congestion']>;

interface Fault {
  readonly name: string;
  readonly transfers: Transfers;
  readonly shape: Partial<LaneShape>;
}

const BITS_PER_SECOND = 100e6;
const MTU = 1500;
const PAYLOAD_BYTES = 1448;
/** RFC 6928. */
const INITIAL_WINDOW_BYTES = 10 * PAYLOAD_BYTES;
const QUEUE_BYTES = 1000 * MTU;
/** Where packets are lost at random: so many transfers of so many bytes. */
const RANDOM = { bytes: 3_000_000, seeds: [1, 2, 3] };
/** Elsewhere it is the queue that loses, once slow start has filled it: one transfer tells all. */
const OVERFLOWING = { bytes: 10_000_000, seeds: [1] };
/** The smallest timeout of both TCPs. */
const RTO_S = 0.2;
/** Segments that one ACK covers. */
const ACK_EVERY = 2;

const ROUND_TRIPS_MS = [0, 20, 100];
const FAULTS: readonly Fault[] = [
  { name: 'loss 0 %', transfers: OVERFLOWING, shape: {} },
  { name: 'loss 0.1 %', transfers: RANDOM, shape: { loss: 0.001 } },
  { name: 'loss 1 %', transfers: RANDOM, shape: { loss: 0.01 } },
  { name: 'loss 5 %', transfers: RANDOM, shape: { loss: 0.05 } },
  { name: 'reordering 1 %', transfers: RANDOM, shape: { late: 0.01, lateByUs: 3000 } },
  { name: 'duplication 1 %', transfers: OVERFLOWING, shape: { duplicate: 0.01 } },
];

/** What the wire carries of payload at most, in Mbit/s. */
export const LINE = (BITS_PER_SECOND / 1e6) * (PAYLOAD_BYTES / MTU);

/** A transfer without a loss: slow start doubles the initial window each round trip. In Mbit/s. */
function cleanModel(bytes: number, roundTripS: number): number {
  const windows = (BITS_PER_SECOND * roundTripS) / 8 / INITIAL_WINDOW_BYTES;
  const slowStartS = roundTripS * Math.max(0, Math.log2(windows));
  const megabits = (bytes * 8) / 1e6;
  return megabits / (megabits / LINE + slowStartS);
}

/**
 * What Reno reaches in steady state, in Mbit/s: Padhye, Firoiu, Towsley, Kurose, "Modeling TCP
 * throughput", 1998, equation 30. Late segments count as lost: Reno cannot tell.
 *
 * @param loss  share of the segments
 */
function renoModel(loss: number, roundTripS: number): number {
  const fast = roundTripS * Math.sqrt((2 * ACK_EVERY * loss) / 3);
  const share = Math.min(1, 3 * Math.sqrt((3 * ACK_EVERY * loss) / 8));
  const slow = RTO_S * share * loss * (1 + 32 * loss ** 2);
  return (PAYLOAD_BYTES * 8) / 1e6 / (fast + slow);
}

/** The same without timeouts and with an ACK for each segment: Mathis et al., 1997. In Mbit/s. */
const mathisModel = (loss: number, roundTripS: number): number =>
  (PAYLOAD_BYTES * 8) / 1e6 / (roundTripS * Math.sqrt((2 * loss) / 3));

export function measureGoodputs(): GoodputCell[] {
  return ROUND_TRIPS_MS.flatMap((roundTripMs) =>
    FAULTS.map(({ name, transfers, shape }) => {
      const lane: LaneShape = {
        ...CLEAN,
        bitsPerSecond: BITS_PER_SECOND,
        delayUs: (roundTripMs * 1000) / 2,
        queueBytes: QUEUE_BYTES,
        ...shape,
      };
      const loss = shape.loss ?? 0;
      const roundTripS = roundTripMs / 1000;
      return {
        roundTripMs,
        fault: name,
        down: measure(lane, 'down', transfers),
        up: measure(lane, 'up', transfers),
        bbr: measure(lane, 'down', transfers, 'bbr'),
        model: Math.min(
          cleanModel(transfers.bytes, roundTripS),
          renoModel(loss + (shape.late ?? 0), roundTripS),
        ),
        // With fewer losses than this, a short transfer is slow start and luck.
        most: loss < 0.01 ? LINE : Math.min(LINE, 2 * mathisModel(loss, roundTripS)),
      };
    }),
  );
}

/** The table of all cells, as Markdown. */
export function renderGoodputs(cells: readonly GoodputCell[]): string {
  const number = (value: number): string => value.toFixed(value < 10 ? 2 : 1);
  return [
    '| RTT | fault | down | up | BBR down | expected |',
    '| --- | --- | --- | --- | --- | --- |',
    ...cells.map(({ roundTripMs, fault, down, up, bbr, model }) => {
      const values = [down, up, bbr, model].map(number);
      return `| ${roundTripMs} ms | ${[fault, ...values].join(' | ')} |`;
    }),
  ].join('\n');
}

/** Mean over the seeds, in Mbit/s: all bytes over all time. */
function measure(
  lane: LaneShape,
  direction: 'down' | 'up',
  { bytes, seeds }: Transfers,
  congestion: Control = 'cubic',
): number {
  let us = 0;
  for (const seed of seeds) {
    const talk = converse(bulk(seed, lane, direction, bytes, congestion)).talks[0]!;
    us += direction === 'down' ? talk.downUs : talk.upUs;
  }
  return (seeds.length * bytes * 8) / us;
}

function bulk(
  seed: number,
  lane: LaneShape,
  direction: 'down' | 'up',
  bytes: number,
  congestion: Control,
): Scenario {
  const all = Number.MAX_SAFE_INTEGER / 2 ** 20;
  return {
    seed,
    rig: {
      limits: { slabBytes: 32 * 2 ** 20, slabBytesPerFlow: 4 * 2 ** 20 },
      settings: { congestion },
    },
    up: lane,
    down: lane,
    talks: [
      {
        source: '198.18.0.1',
        destination: '198.18.0.80',
        sourcePort: 40_000,
        destinationPort: 443,
        iss: 1_000_000,
        mss: 1460,
        length: direction === 'up' ? bytes : 0,
        buffer: 4 * 2 ** 20,
        timestamps: true,
        sack: true,
        windowScale: 7,
        serverLength: direction === 'down' ? bytes : 0,
        startUs: 0,
      },
    ],
    ownerPace: all,
    clientPace: all,
    serverWaitsForFin: true,
    batchUs: 0,
    refusing: 0,
  };
}
