/** The text of a filter, cut into words and signs. */
import { FilterError } from './filter-error.ts';

export interface Token {
  /** `word`: a field, a value or a keyword; `quoted`: a value, without its quotes. */
  readonly kind: 'word' | 'quoted' | 'sign' | 'end';
  readonly text: string;
  /** Position in the text, from 0 on. */
  readonly at: number;
}

/** Longer than anything that a person writes; with it, all work on a filter is bounded. */
const LENGTH_MAX = 4096;

/** What none of them takes is an error: `"` without its partner, `!` without `=`. */
const TOKEN = /(?<sign>!=|<=|>=|[=<>(),])|"(?<quoted>[^"]*)"|(?<word>[^\s=<>!(),"]+)|\s+/y;

/**
 * The tokens of a text, and one of the kind `end` behind them.
 *
 * @throws FilterError
 */
export function tokenize(text: string): readonly Token[] {
  if (text.length > LENGTH_MAX) {
    throw new FilterError(LENGTH_MAX, `a filter has at most ${LENGTH_MAX} characters`);
  }
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const { groups } = TOKEN.exec(text) ?? {};
    if (groups === undefined) {
      throw new FilterError(at, text[at] === '"' ? 'a quote is not closed' : '"!" without "="');
    }
    for (const kind of ['sign', 'quoted', 'word'] as const) {
      const found = groups[kind];
      if (found !== undefined) tokens.push({ kind, text: found, at });
    }
  }
  tokens.push({ kind: 'end', text: '', at: text.length });
  return tokens;
}
