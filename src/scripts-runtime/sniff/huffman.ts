/** The Huffman code of HPACK, RFC 7541 §5.2 and Appendix B. */

/**
 * Bits of the code of each byte, 16 to a line, and of EOS at the end. The code is canonical: codes
 * of one length follow each other in the order of their symbols, so that lengths say everything.
 */
// biome-ignore format: a line is sixteen symbols
const CODE_LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
  28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
  5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
  6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
  21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
];
const EOS = 256;
const CODE_BITS_MAX = 30;
/** A string is filled up to a byte with the first bits of EOS, which are ones. */
const PADDING_BITS_MAX = 7;

/** By length: the first code, and how many there are. */
const firstCode = new Uint32Array(CODE_BITS_MAX + 1);
const codeCount = new Uint16Array(CODE_BITS_MAX + 1);
/** Symbols in the order of their codes, and by length where they begin. */
const symbols: number[] = [];
const firstSymbol = new Uint16Array(CODE_BITS_MAX + 1);
for (let bits = 1, code = 0; bits <= CODE_BITS_MAX; bits++, code <<= 1) {
  firstCode[bits] = code;
  firstSymbol[bits] = symbols.length;
  CODE_LENGTHS.forEach((length, symbol) => {
    if (length !== bits) return;
    symbols.push(symbol);
    code++;
  });
  codeCount[bits] = symbols.length - firstSymbol[bits]!;
}

/** @returns undefined when it is malformed */
export function decodeHuffman(bytes: Uint8Array, at: number, end: number): string | undefined {
  let text = '';
  let code = 0;
  let bits = 0;
  for (let i = at; i < end; i++) {
    const byte = bytes[i] ?? 0;
    for (let bit = 7; bit >= 0; bit--) {
      code = (code << 1) | ((byte >>> bit) & 1);
      bits++;
      if (bits > CODE_BITS_MAX) return undefined;
      const nth = code - firstCode[bits]!;
      if (nth < 0 || nth >= codeCount[bits]!) continue;
      const symbol = symbols[firstSymbol[bits]! + nth] ?? EOS;
      if (symbol === EOS) return undefined;
      text += String.fromCharCode(symbol);
      code = 0;
      bits = 0;
    }
  }
  const isPadding = bits <= PADDING_BITS_MAX && code === 2 ** bits - 1;
  return isPadding ? text : undefined;
}
