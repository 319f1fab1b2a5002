/** Source maps (ECMA-426), read only: from a place in what runs to the place in the source. */

export interface Place {
  /** Both 1-based; 0 when unknown. */
  readonly line: number;
  readonly column: number;
}

/** Where a stretch of a generated line comes from; all 0-based. */
interface Segment {
  readonly generatedColumn: number;
  readonly line: number;
  readonly column: number;
}

const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const VLQ_CONTINUES = 32;
const VLQ_DIGIT_BITS = 5;

export class SourceMap {
  readonly #generated: readonly string[];
  readonly #source: readonly string[];
  readonly #lines: readonly (readonly Segment[])[];

  /**
   * @param mappings   field of the same name of the map, which has one source
   * @param generated  the text the map belongs to
   */
  constructor(mappings: string, generated: string, source: string) {
    this.#lines = decodeMappings(mappings);
    this.#generated = generated.split('\n');
    this.#source = source.split('\n');
  }

  /**
   * A map points at tokens. A place further on keeps its distance from its token as long as both
   * texts read the same up to there; else the token's place is the answer.
   */
  original({ line, column }: Place): Place | undefined {
    const segment = this.#lines[line - 1]?.findLast((s) => s.generatedColumn < column);
    if (segment === undefined) return undefined;
    const between = (this.#generated[line - 1] ?? '').slice(segment.generatedColumn, column - 1);
    const text = this.#source[segment.line] ?? '';
    const isSame = text.startsWith(between, segment.column);
    const at = segment.column + (isSame ? between.length : 0);
    // A non-null assertion is the one thing that a place can stand right behind and only here.
    const isAsserted = isSame && between !== '' && text[at] === '!' && text[at + 1] === '.';
    return { line: segment.line + 1, column: at + 1 + (isAsserted ? 1 : 0) };
  }
}

/** ECMA-426 §9: lines by `;`, segments by `,`, each field the difference to the one before. */
function decodeMappings(mappings: string): Segment[][] {
  let line = 0;
  let column = 0;
  return mappings.split(';').map((text) => {
    let generatedColumn = 0;
    const segments: Segment[] = [];
    for (const field of text.split(',')) {
      const [generatedBy, source, lineBy, columnBy] = decodeVlq(field);
      if (generatedBy === undefined) continue;
      generatedColumn += generatedBy;
      if (source === undefined) continue;
      line += lineBy ?? 0;
      column += columnBy ?? 0;
      segments.push({ generatedColumn, line, column });
    }
    return segments;
  });
}

/** Base64 VLQ: five bits a digit, lowest first; the lowest bit of a number is its sign. */
function decodeVlq(text: string): number[] {
  const numbers: number[] = [];
  let value = 0;
  let shift = 0;
  for (const char of text) {
    const digit = BASE64.indexOf(char);
    value += (digit & (VLQ_CONTINUES - 1)) << shift;
    shift += VLQ_DIGIT_BITS;
    if ((digit & VLQ_CONTINUES) !== 0) continue;
    numbers.push((value & 1) === 1 ? -(value >>> 1) : value >>> 1);
    value = 0;
    shift = 0;
  }
  return numbers;
}
