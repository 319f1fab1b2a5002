import { expect, test } from 'bun:test';
import { evaluate, thrownBy } from './sandbox.ts';

/** More than a decision may use: the first stream of a script has the library evaluated. */
const limits = { cpuHardMs: 1_000 };
const run = (body: string) => evaluate(body, { limits });

test('a ReadableStream is read by a reader, by iteration, and made from an iterable', async () => {
  expect(
    await run(`const make = () => new ReadableStream({ start(controller) {
        controller.enqueue('a'); controller.enqueue('b'); controller.close(); } });
      const reader = make().getReader();
      const read = [await reader.read(), await reader.read(), await reader.read()];
      await reader.closed;
      const iterated = [];
      for await (const chunk of make()) iterated.push(chunk);
      for await (const chunk of make().values({ preventCancel: true })) iterated.push(chunk);
      for await (const chunk of ReadableStream.from([1, 2])) iterated.push(chunk);
      return [read.map(({ value, done }) => value ?? done), iterated];`),
  ).toEqual([
    ['a', 'b', true],
    ['a', 'b', 'a', 'b', 1, 2],
  ]);
});

test('locks, cancelling and errors', async () => {
  expect(
    await run(`const seen = [];
      const stream = new ReadableStream({ cancel(reason) { seen.push('cancel ' + reason); } });
      const reader = new ReadableStreamDefaultReader(stream);
      seen.push(stream.locked);
      try { stream.getReader() } catch (error) { seen.push(error.name) }
      reader.releaseLock();
      await stream.cancel('why');
      await stream.getReader().cancel('closed already');
      const broken = new ReadableStream({ start: (controller) => controller.error('bad') });
      await broken.getReader().read().catch((error) => seen.push(error));
      return seen;`),
  ).toEqual([true, 'TypeError', 'cancel why', 'bad']);
});

test('a stream of bytes fills the buffer of its reader', async () => {
  expect(
    await run(`const stream = new ReadableStream({ type: 'bytes', autoAllocateChunkSize: 8,
        pull(controller) {
          const request = controller.byobRequest;
          if (controller.desiredSize === null) throw new Error('closed');
          request.view[0] = 7;
          const { view } = request;
          if (view.byteLength === 4) request.respondWithNewView(view.subarray(0, 1));
          else request.respond(1);
        } });
      const byob = stream.getReader({ mode: 'byob' });
      const one = await byob.read(new Uint8Array(4));
      byob.releaseLock();
      const two = await stream.getReader().read();
      const fixed = new ReadableStream({ type: 'bytes', start(controller) {
        controller.enqueue(Uint8Array.of(1, 2, 3)); controller.close(); } });
      const reader = new ReadableStreamBYOBReader(fixed);
      const three = await reader.read(new Uint8Array(2), { min: 2 });
      await reader.cancel();
      await reader.closed;
      return [[...one.value], [...two.value], [...three.value]];`),
  ).toEqual([[7], [7], [1, 2]]);
});

test('a WritableStream writes in order, and waits for its sink', async () => {
  expect(
    await run(`const seen = [];
      const stream = new WritableStream({
        async write(chunk, controller) { await null; seen.push(chunk, controller.signal.aborted); },
        close() { seen.push('close'); },
      }, new CountQueuingStrategy({ highWaterMark: 2 }));
      const writer = stream.getWriter();
      seen.push(writer.desiredSize, stream.locked);
      await writer.ready;
      writer.write('a');
      seen.push(writer.desiredSize);
      await writer.write('b');
      await writer.close();
      await writer.closed;
      writer.releaseLock();
      seen.push(stream.locked);
      const empty = new WritableStream();
      await empty.close();
      return seen;`),
  ).toEqual([2, true, 1, 'a', false, 'b', false, 'close', false]);
});

test('aborting a WritableStream fires the signal of its controller', async () => {
  expect(
    await run(`const seen = [];
      let kept;
      const stream = new WritableStream({
        start(controller) { kept = controller; },
        abort(reason) { seen.push('abort ' + reason); },
      });
      kept.signal.onabort = () => seen.push(kept.signal.reason, kept.signal instanceof AbortSignal);
      const writer = new WritableStreamDefaultWriter(stream);
      await writer.abort('why');
      await writer.closed.catch((reason) => seen.push('closed ' + reason));
      const broken = new WritableStream({ start: (controller) => controller.error('bad') });
      await broken.getWriter().closed.catch((reason) => seen.push(reason));
      await new WritableStream().abort();
      return seen;`),
  ).toEqual(['why', true, 'abort why', 'closed why', 'bad']);
});

test('pipeTo carries all of it, keeps open what it shall, and ends with its signal', async () => {
  expect(
    await run(`const seen = [];
      const sink = () => new WritableStream({ write: (chunk) => { seen.push(chunk) },
        close: () => { seen.push('close') }, abort: (why) => { seen.push('abort ' + why.name) } });
      await ReadableStream.from([1, 2]).pipeTo(sink());
      await ReadableStream.from([3]).pipeTo(sink(), { preventClose: true });
      const signal = AbortSignal.timeout(20);
      const endless = new ReadableStream({ cancel: (why) => { seen.push('cancel ' + why.name) } });
      await endless.pipeTo(sink(), { signal }).catch((error) => seen.push(error.name));
      return seen;`),
  ).toEqual([1, 2, 'close', 3, 'abort TimeoutError', 'cancel TimeoutError', 'TimeoutError']);
});

test('a TransformStream changes, adds at the end, and can end early', async () => {
  expect(
    await run(`const all = async (stream) => { const seen = [];
        for await (const chunk of stream) seen.push(chunk);
        return seen; };
      const double = new TransformStream({
        start(controller) { controller.enqueue('start'); },
        transform(chunk, controller) { controller.enqueue(chunk * 2); },
        flush(controller) { controller.enqueue('flush'); } });
      const short = new TransformStream({ transform(chunk, controller) {
        controller.enqueue(chunk + controller.desiredSize); controller.terminate(); } });
      const broken = new TransformStream({ transform: (_, controller) => controller.error('bad') });
      return [await all(ReadableStream.from([1, 2]).pipeThrough(double)),
        await all(ReadableStream.from([1, 2]).pipeThrough(short)),
        await all(ReadableStream.from([1]).pipeThrough(broken)).catch((error) => error)];`),
  ).toEqual([['start', 2, 4, 'flush'], [1], 'bad']);
});

test('tee gives both all of it', async () => {
  expect(
    await run(`const [one, two] = ReadableStream.from(['a', 'b']).tee();
      const all = async (stream) => { let text = '';
        for await (const chunk of stream) text += chunk;
        return text; };
      return Promise.all([all(one), all(two)]);`),
  ).toEqual(['ab', 'ab']);
});

test('queuing strategies count chunks and bytes', async () => {
  expect(
    await run(`const bytes = new ByteLengthQueuingStrategy({ highWaterMark: 10 });
      const count = new CountQueuingStrategy({ highWaterMark: 3 });
      let size;
      new ReadableStream({ start(controller) { controller.enqueue(new Uint8Array(4));
        size = controller.desiredSize; } }, bytes);
      return [bytes.highWaterMark, bytes.size(new Uint8Array(4)), size, count.highWaterMark,
        count.size('x')];`),
  ).toEqual([10, 4, 6, 3, 1]);
});

test('text streams: pairs and characters that are cut between chunks', async () => {
  expect(
    await run(`const all = async (stream) => { const seen = [];
        for await (const chunk of stream) seen.push(typeof chunk === 'string' ? chunk : [...chunk]);
        return seen; };
      const encoder = new TextEncoderStream();
      const decoder = new TextDecoderStream('utf-8', { fatal: true });
      const halves = ReadableStream.from(['a\\ud83d', '\\ude00', 'b\\ud83d']);
      const bytes = ReadableStream.from([Uint8Array.of(226), Uint8Array.of(130, 172, 65)]);
      return [await all(halves.pipeThrough(encoder)), await all(bytes.pipeThrough(decoder)),
        encoder.encoding, decoder.encoding, decoder.fatal, decoder.ignoreBOM,
        encoder.readable instanceof ReadableStream, encoder.writable instanceof WritableStream];`),
  ).toEqual([
    [[97], [240, 159, 152, 128], [98], [239, 191, 189]],
    ['€A'],
    ...['utf-8', 'utf-8', true, false, true, true],
  ]);
  expect(
    await thrownBy(`for await (const _ of ReadableStream.from([Uint8Array.of(255)])
      .pipeThrough(new TextDecoderStream('utf-8', { fatal: true })));`),
  ).toStartWith('TypeError');
});

test.each([
  'ReadableStreamDefaultController',
  'ReadableByteStreamController',
  'ReadableStreamBYOBRequest',
  'WritableStreamDefaultController',
  'TransformStreamDefaultController',
])('nobody makes a %s', async (name) => {
  expect(await thrownBy(`new ${name}()`)).toStartWith('TypeError');
});
