/** `ctx.metrics`: the gateway keeps the numbers. */
import { host, parse, stringify } from './host.js';
import { show } from './show.js';

const { keys } = Object;
const LEAST = -Number.MAX_VALUE;

/** Number of the series, by which the gateway knows it. */
function open(kind, name, labels) {
  if (typeof name !== 'string')
    throw new TypeError(`metrics: a name must be text, not ${show(name)}`);
  if (labels !== undefined && (typeof labels !== 'object' || labels === null)) {
    throw new TypeError(`metrics: labels must be an object, not ${show(labels)}`);
  }
  const pairs = [];
  for (const key of labels === undefined ? [] : keys(labels)) {
    const value = labels[key];
    if (typeof value !== 'string') {
      throw new TypeError(`metrics: label ${show(key)} must be text, not ${show(value)}`);
    }
    pairs.push([key, value]);
  }
  const series = host.openSeries(kind, name, stringify(pairs));
  if (typeof series === 'number') return series;
  const fault = parse(series);
  if (fault.name === 'TypeError') throw new TypeError(fault.message);
  const error = new Error(fault.message);
  error.name = fault.name;
  throw error;
}

function record(series, value, least) {
  if (typeof value !== 'number' || !(value >= least && value < Infinity)) {
    throw new TypeError(`metrics: a value cannot be ${show(value)}`);
  }
  host.record(series, value);
}

export const metrics = Object.freeze({
  counter: (name, labels) => {
    const series = open('counter', name, labels);
    return { inc: (by = 1) => record(series, by, 0) };
  },
  gauge: (name, labels) => {
    const series = open('gauge', name, labels);
    return { set: (value) => record(series, value, LEAST) };
  },
  histogram: (name, labels) => {
    const series = open('histogram', name, labels);
    return { observe: (value) => record(series, value, LEAST) };
  },
});
