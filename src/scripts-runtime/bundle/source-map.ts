/** Source maps (ECMA-426), read only: from a place in what runs to the place in the source. */
import type { SourcePosition } from '../errors.ts';

export interface Place {
  /** Both 1-based; 0 when unknown. */
  readonly line: number;
  readonly column: number;
}

/** A text that was put into what runs. */
export interface SourceText {
  /** As errors should name it. */
  readonly file: string;
  readonly text: string;
  /** To the text that it was made of, of the same name. */
  readonly origin?: SourceMap;
}

/** Where a stretch of a generated line comes from; all 0-based. */
interface Segment {
  readonly generatedColumn: number;
  /** Position in the list of sources. */
  readonly source: number;
  readonly line: number;
  readonly column: number;
}

const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const VLQ_CONTINUES = 32;
const VLQ_DIGIT_BITS = 5;

export class SourceMap {
  readonly #generated: readonly string[];
  readonly #sources: readonly (SourceText & { readonly lines: readonly string[] })[];
  readonly #lines: readonly (readonly Segment[])[];

  /**
   * @param mappings   field of the same name of the map
   * @param generated  the text the map belongs to
   * @param sources    in the order of the map
   */
  constructor(mappings: string, generated: string, sources: readonly SourceText[]) {
    this.#lines = decodeMappings(mappings);
    this.#generated = generated.split('\n');
    this.#sources = sources.map((source) => ({ ...source, lines: source.text.split('\n') }));
  }

  /**
   * A map points at tokens. A place further on keeps its distance from its token as long as both
   * texts read the same up to there; else the token's place is the answer.
   */
  original({ line, column }: Place): SourcePosition | undefined {
    const segment = this.#lines[line - 1]?.findLast((s) => s.generatedColumn < column);
    const source = this.#sources[segment?.source ?? -1];
    if (segment === undefined || source === undefined) return undefined;
    const between = (this.#generated[line - 1] ?? '').slice(segment.generatedColumn, column - 1);
    const text = source.lines[segment.line] ?? '';
    const isSame = text.startsWith(between, segment.column);
    const at = segment.column + (isSame ? between.length : 0);
    // A non-null assertion is the one thing that a place can stand right behind and only here.
    const isAsserted = isSame && between !== '' && text[at] === '!' && text[at + 1] === '.';
    const place = { line: segment.line + 1, column: at + 1 + (isAsserted ? 1 : 0) };
    return source.origin === undefined
      ? { file: source.file, ...place }
      : source.origin.original(place);
  }
}

/** ECMA-426 §9: lines by `;`, segments by `,`, each field the difference to the one before. */
function decodeMappings(mappings: string): Segment[][] {
  let source = 0;
  let line = 0;
  let column = 0;
  return mappings.split(';').map((text) => {
    let generatedColumn = 0;
    const segments: Segment[] = [];
    for (const field of text.split(',')) {
      const [generatedBy, sourceBy, lineBy, columnBy] = decodeVlq(field);
      if (generatedBy === undefined) continue;
      generatedColumn += generatedBy;
      if (sourceBy === undefined) continue;
      source += sourceBy;
      line += lineBy ?? 0;
      column += columnBy ?? 0;
      segments.push({ generatedColumn, source, line, column });
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
