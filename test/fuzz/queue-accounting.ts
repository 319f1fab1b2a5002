/**
 * As accounting.ts, of two stacks behind the queues of one device: traffic comes to either, they
 * hand over to each other, and the device is swapped for another kind at any moment. After each
 * frame all frames of both are somewhere, and all are in the capture once.
 */

import { CounterSum } from '../../src/gateway/supervisor/metrics/counter-sum.ts';
import { Counter, type Counters } from '../../src/stack/counters.ts';
import { DropReason } from '../../src/stack/drop-reason.ts';
import { parseAddress } from '../../src/stack/wire/ip-address.ts';
import { checkBalance, whereFramesAre } from '../support/balance.ts';
import { randomNumbers } from '../support/lossy-link.ts';
import { FULL_OFFLOAD, NO_OFFLOAD } from '../support/memory-device.ts';
import { QueueCaptureRig } from '../support/queue-capture-rig.ts';
import type { TcpRig } from '../support/tcp-rig.ts';
import { trackSettings } from '../support/tracking.ts';
import {
  type Accounts,
  decideRandomly,
  GATEWAY,
  LIMITS,
  operate,
  POOL,
  type Random,
  traffic,
} from './accounting.ts';

const STEPS = 300;

/** @throws Error when a frame is nowhere, or in two places; the seed makes it happen again */
export async function queueAccountingRound(seed: number): Promise<Accounts> {
  const random = randomNumbers(seed + 1);
  for (let i = 0; i < 8; i++) random(2);
  const capabilities = random(3) === 0 ? NO_OFFLOAD : FULL_OFFLOAD;
  const world = new QueueCaptureRig({ capabilities, limits: LIMITS });
  const { queues } = world;
  const { rigs } = queues;
  const counters = new CounterSum(rigs.map((rig) => rig.counters));
  const capture = world.start({ snapLength: 60 });
  for (const rig of rigs) prepare(rig, random);
  for (let i = 0; i < STEPS; i++) {
    const rig = rigs[random(2)]!;
    // What the kernel brings to the wrong queue is as a rule of a flow that is behind the other.
    const owner = random(2) === 0 ? rig : rigs[random(2)]!;
    for (const [packet, gsoSize] of traffic(owner, random)) {
      if (random(30) === 0) swapDevice(rigs, random);
      deliver(rig, packet, gsoSize, random);
      checkBalance(counters);
    }
    for (const each of rigs) each.device.isRefusing = random(40) === 0;
    queues.isFull = random(20) === 0;
    operate(rig, random);
    world.captures.poll();
    checkBalance(counters);
    for (const each of rigs) each.frames.length = 0;
  }
  await checkCapture(world, capture, counters);
  return { frames: counters.get(Counter.DEVICE_FRAMES_IN), where: whereFramesAre(counters) };
}

function prepare(rig: TcpRig, random: Random): void {
  rig.device.isCareless = true;
  rig.stack.setLocalAddresses(GATEWAY);
  rig.stack.setPool(POOL.map((ip) => parseAddress(ip) as Uint8Array));
  rig.stack.setTracking(trackSettings({ perSource: 12, firstPort: 1024, lastPort: 1040 }));
  decideRandomly(rig, random);
}

/** Both queues are of one device. */
function swapDevice(rigs: readonly TcpRig[], random: Random): void {
  const next = random(2) === 0 ? FULL_OFFLOAD : NO_OFFLOAD;
  for (const { device } of rigs) Object.assign(device.capabilities, next);
}

/** A frame of the device, or, after a swap, one that still comes of the one before. */
function deliver(rig: TcpRig, packet: Uint8Array, gsoSize: number, random: Random): void {
  const { device, stack, now } = rig;
  const { vnetHeader } = device.capabilities;
  const isOfOld = random(20) === 0;
  const hasHeader = isOfOld ? !vnetHeader : vnetHeader;
  device.capabilities.vnetHeader = hasHeader;
  const frame = device.incoming(packet, hasHeader ? gsoSize : 0);
  device.capabilities.vnetHeader = vnetHeader;
  stack.arena.bytes.set(frame, stack.frameAt);
  stack.ingest(stack.frameAt, frame.length, now, hasHeader);
  stack.flush(now);
}

/** Each frame is in the file once, whichever queue it came to. */
async function checkCapture(
  world: QueueCaptureRig,
  capture: ReturnType<QueueCaptureRig['start']>,
  counters: Pick<Counters, 'get' | 'dropped'>,
): Promise<void> {
  const packets = await world.packetsOf(capture);
  const found = (way: string) => packets.filter((packet) => packet.way === way).length;
  const came = counters.get(Counter.DEVICE_FRAMES_IN);
  const out =
    counters.get(Counter.DEVICE_FRAMES_OUT) + counters.dropped(DropReason.DEVICE_WRITE_FAILED);
  if (found('in') !== came || found('out') !== out) {
    throw new Error(`captured ${found('in')} of ${came} in, ${found('out')} of ${out} out`);
  }
}
