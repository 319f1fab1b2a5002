import { expect, test } from 'bun:test';
import { renderMetrics } from '../../../../src/gateway/supervisor/metrics/metrics.ts';
import { documentAt } from '../../../support/generated-document.ts';
import { documentMetrics } from '../../../support/metrics-document.ts';
import { sampleMetrics } from '../../../support/metrics-source.ts';

test('docs/metrics.md has every family that the gateway writes, and no other', () => {
  const text = documentMetrics(renderMetrics(sampleMetrics()));
  expect(documentAt('docs/metrics.md', text)).toBe(text);
});
