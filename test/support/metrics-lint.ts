/**
 * What `promtool check metrics` and the naming rules of Prometheus find fault with, and ours:
 * one prefix, and neither addresses nor names of hosts as labels.
 */
import { type Family, readExposition } from './exposition.ts';

const NOT_BASE_UNITS =
  /_(ms|us|ns|millis|milliseconds|microseconds|minutes|hours|kb|kib|mb|mib|bits|percent)(_|$)/;
const UNITS = ['seconds', 'bytes', 'ratio'];
const TYPE_WORDS = /_(counter|gauge|histogram|summary|metric)(_|$)/;
const SECRET_LABELS = /^(ip|src|dst|source|destination|address|addr|sni|host|hostname|name)$/;
const RESERVED_SUFFIX = /_(count|sum|bucket)$/;

/** @returns faults, one sentence each; none when all is well */
export function lintMetrics(text: string): string[] {
  return readExposition(text).flatMap((family) => [
    ...lintName(family),
    ...lintSeries(family),
    ...(family.type === 'histogram' ? lintBuckets(family) : []),
  ]);
}

function lintName({ name, type, help }: Family): string[] {
  const faults: string[] = [];
  const fault = (isWrong: boolean, what: string) => isWrong && faults.push(`${name}: ${what}`);
  fault(!name.startsWith('culvert_'), 'has not our prefix');
  fault(!/^[a-z][a-z0-9_]*$/.test(name), 'is not in snake_case');
  fault(!['counter', 'gauge', 'histogram', 'summary'].includes(type), `is of no type: ${type}`);
  fault(!/^[A-Z].*[.]$/.test(help), 'has no sentence for HELP');
  fault(type === 'counter' && !name.endsWith('_total'), 'is a counter and does not end in _total');
  fault(type !== 'counter' && name.endsWith('_total'), 'is no counter and ends in _total');
  fault(RESERVED_SUFFIX.test(name), 'ends like a series of a histogram');
  fault(TYPE_WORDS.test(name), 'has its type in its name');
  fault(NOT_BASE_UNITS.test(name), 'has a unit that is no base unit');
  const words = name.replace(/_(total|limit|info)$/, '').split('_');
  const unitAt = words.findIndex((word) => UNITS.includes(word));
  fault(unitAt >= 0 && unitAt !== words.length - 1, 'has its unit not at the end');
  return faults;
}

function lintSeries({ name, type, series }: Family): string[] {
  const faults: string[] = [];
  const seen = new Set<string>();
  const keys = new Set<string>();
  for (const one of series) {
    const labels = Object.entries(one.labels).sort(([a], [b]) => (a < b ? -1 : 1));
    const key = JSON.stringify([one.name, labels]);
    if (seen.has(key)) faults.push(`${name}: ${key} is there twice`);
    seen.add(key);
    if (type === 'counter' && one.value < 0) faults.push(`${name}: counts below 0`);
    keys.add(
      labels
        .map(([label]) => label)
        .filter((label) => label !== 'le')
        .join(),
    );
    for (const [label] of labels) {
      if (!/^[a-z][a-z_]*$/.test(label)) faults.push(`${name}: ${label} is no label`);
      if (SECRET_LABELS.test(label)) faults.push(`${name}: ${label} tells who`);
      if (label === 'le' && !one.name.endsWith('_bucket')) faults.push(`${name}: le is reserved`);
    }
  }
  if (keys.size > 1) faults.push(`${name}: its series differ in labels: ${[...keys].join(' | ')}`);
  return faults;
}

/** Each set of labels: bounds ascend, counts do not fall, and `+Inf` is the count. */
function lintBuckets({ name, series }: Family): string[] {
  const faults: string[] = [];
  const setOf = ({ le: _, ...labels }: Readonly<Record<string, string>>) => JSON.stringify(labels);
  for (const [set, all] of Map.groupBy(series, ({ labels }) => setOf(labels))) {
    const buckets = all.filter((one) => one.name === `${name}_bucket`);
    const count = all.find((one) => one.name === `${name}_count`)?.value;
    let bound = Number.NEGATIVE_INFINITY;
    let below = 0;
    for (const { labels, value } of buckets) {
      const le = labels['le'] === '+Inf' ? Number.POSITIVE_INFINITY : Number(labels['le']);
      if (!(le > bound)) faults.push(`${name}${set}: bounds do not ascend`);
      if (value < below) faults.push(`${name}${set}: counts fall`);
      bound = le;
      below = value;
    }
    if (bound !== Number.POSITIVE_INFINITY) faults.push(`${name}${set}: +Inf is missing`);
    if (below !== count) faults.push(`${name}${set}: +Inf is ${below}, the count ${count}`);
    if (!all.some((one) => one.name === `${name}_sum`)) faults.push(`${name}${set}: no sum`);
  }
  return faults;
}
