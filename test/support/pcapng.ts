/** Reads the blocks of a pcapng file of ours, written without the code that writes them. */

export interface PcapngBlock {
  readonly type: number;
  /** Without the frame of the block and without options. */
  readonly body: DataView;
  /** By code; the last of each. */
  readonly options: ReadonlyMap<number, Uint8Array>;
}

export interface PcapngPacket {
  /** Nanoseconds since 1970. */
  readonly time: bigint;
  readonly packet: Uint8Array;
  readonly length: number;
  readonly way: 'in' | 'out' | 'unknown';
  readonly comment: string;
}

const FIXED_BYTES: Readonly<Record<number, number>> = { 168627466: 16, 1: 8, 5: 12 };
const PACKET = 6;

/** @throws Error when a block does not say the same length at both ends */
export function readBlocks(file: Uint8Array): PcapngBlock[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const blocks: PcapngBlock[] = [];
  for (let at = 0; at < file.length; ) {
    const type = view.getUint32(at, true);
    const length = view.getUint32(at + 4, true);
    if (length % 4 !== 0 || view.getUint32(at + length - 4, true) !== length) {
      throw new Error(`the block at ${at} is ${length} bytes long, or is it?`);
    }
    const bodyBytes =
      type === PACKET
        ? 20 + Math.ceil(view.getUint32(at + 20, true) / 4) * 4
        : (FIXED_BYTES[type] ?? 0);
    const body = new DataView(file.buffer, file.byteOffset + at + 8, bodyBytes);
    const options = readOptions(file.subarray(at + 8 + bodyBytes, at + length - 4));
    blocks.push({ type, body, options });
    at += length;
  }
  return blocks;
}

function readOptions(bytes: Uint8Array): Map<number, Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const options = new Map<number, Uint8Array>();
  for (let at = 0; at + 4 <= bytes.length; ) {
    const [code, length] = [view.getUint16(at, true), view.getUint16(at + 2, true)];
    if (code === 0) break;
    options.set(code, bytes.slice(at + 4, at + 4 + length));
    at += 4 + Math.ceil(length / 4) * 4;
  }
  return options;
}

export const packetsOf = (file: Uint8Array): PcapngPacket[] =>
  readBlocks(file)
    .filter(({ type }) => type === PACKET)
    .map(({ body, options }) => {
      const captured = body.getUint32(12, true);
      const time = (BigInt(body.getUint32(4, true)) << 32n) | BigInt(body.getUint32(8, true));
      const start = body.byteOffset + 20;
      return {
        time,
        packet: new Uint8Array(body.buffer.slice(start, start + captured)),
        length: body.getUint32(16, true),
        way: (['unknown', 'in', 'out'] as const)[options.get(2)?.[0] ?? 0] ?? 'unknown',
        comment: new TextDecoder().decode(options.get(1)),
      };
    });

/** Received and dropped, as the last statistics of the file have them. */
export function statisticsOf(file: Uint8Array): { received: number; dropped: number } | undefined {
  const last = readBlocks(file).findLast(({ type }) => type === 5);
  const number = (code: number): number => {
    const bytes = last?.options.get(code);
    return bytes === undefined ? 0 : Number(new DataView(bytes.buffer).getBigUint64(0, true));
  };
  return last && { received: number(4), dropped: number(5) };
}
