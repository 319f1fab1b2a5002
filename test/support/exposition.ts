/** Reads the Prometheus text format, written without the code that writes it. */

export interface Series {
  /** Of the family, or with a suffix of a histogram: `x_bucket`. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly series: Series[];
}

const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  histogram: ['_bucket', '_sum', '_count'],
  summary: ['_sum', '_count'],
};
const LABEL = /([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"(?:,|$)/y;

/** @throws Error that quotes the first line that is none of the format, or at the wrong place */
export function readExposition(text: string): Family[] {
  const families: Family[] = [];
  const helps = new Map<string, string>();
  for (const line of text.trimEnd().split('\n')) {
    const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (kind === 'HELP') {
      if (helps.has(name)) throw new Error(`second ${line}`);
      helps.set(name, rest);
    } else if (kind === 'TYPE') {
      if (families.some((family) => family.name === name)) throw new Error(`second ${line}`);
      families.push({ name, type: rest, help: helps.get(name) ?? '', series: [] });
    } else {
      const series = readSample(line);
      const family = families.at(-1);
      const names = [family?.name ?? '', ...namesOf(family)];
      if (!names.includes(series.name)) throw new Error(`not where its family is: ${line}`);
      family?.series.push(series);
    }
  }
  return families;
}

const namesOf = (family: Family | undefined): string[] =>
  (SUFFIXES[family?.type ?? ''] ?? []).map((suffix) => `${family?.name}${suffix}`);

function readSample(line: string): Series {
  const match = /^([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
  if (match === null) throw new Error(`no sample: ${line}`);
  const [, name = '', set = '', text = ''] = match;
  const value = text === '+Inf' ? Number.POSITIVE_INFINITY : Number(text);
  if (text === '' || Number.isNaN(value)) throw new Error(`no number: ${line}`);
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  for (let at = 0; at < set.length; at = LABEL.lastIndex) {
    const pair = LABEL.exec(set);
    if (pair === null) throw new Error(`no labels: ${line}`);
    labels[pair[1] ?? ''] = pair[2] ?? '';
  }
  return { name, labels, value };
}
