import { expect, test } from 'bun:test';
import { AckNews } from '../../../src/stack/tcp/ack-news.ts';
import type { Instant } from '../../../src/stack/time.ts';
import { asSeq } from '../../../src/stack/wire/seq.ts';

const instant = (us: number) => us as Instant;

test('the newest of what was sent once is kept; of one instant, the one that ends last', () => {
  const news = new AckNews();
  news.clear();
  news.takeOriginal(instant(20), asSeq(300), asSeq(400));
  news.takeOriginal(instant(10), asSeq(100), asSeq(200));
  expect(news).toMatchObject({ originalSentAt: 20, originalEnd: 400, lowestOriginalEnd: 100 });
  news.takeOriginal(instant(20), asSeq(500), asSeq(600));
  expect(news).toMatchObject({ originalSentAt: 20, originalEnd: 600, lowestOriginalEnd: 100 });
});

test('what was sent again is kept apart, and numbers may wrap', () => {
  const news = new AckNews();
  news.clear();
  news.takeResent(instant(20), asSeq(0xffff_fff0));
  news.takeResent(instant(20), asSeq(16));
  news.takeResent(instant(19), asSeq(600));
  expect(news).toMatchObject({ hasResent: true, resentAt: 20, resentEnd: 16, hasOriginal: false });
});

test('clear forgets all that the acknowledgment before told', () => {
  const news = new AckNews();
  news.takeOriginal(instant(20), asSeq(300), asSeq(400));
  news.takeResent(instant(20), asSeq(300));
  news.clear();
  news.takeOriginal(instant(5), asSeq(900), asSeq(900));
  news.takeResent(instant(5), asSeq(900));
  expect(news).toMatchObject({ originalSentAt: 5, lowestOriginalEnd: 900, resentAt: 5 });
});
