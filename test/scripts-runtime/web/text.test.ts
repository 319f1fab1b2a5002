import { expect, test } from 'bun:test';
import { evaluate, thrownBy } from './sandbox.ts';

test('TextEncoder: every kind of character, NUL, and half a pair', async () => {
  const text = 'a\0é€😀\ud800z';
  expect(
    await evaluate(`const encoder = new TextEncoder();
      const bytes = encoder.encode('a\\0é€😀\\ud800z');
      return [encoder.encoding, bytes instanceof Uint8Array, [...bytes], encoder.encode().length,
        bytes.buffer.byteLength];`),
  ).toEqual(['utf-8', true, [...new TextEncoder().encode(text)], 0, 15]);
});

test('TextEncoder.encodeInto writes whole characters only, and says how far it came', async () => {
  expect(
    await evaluate(`const into = (text, length) => {
        const bytes = new Uint8Array(length);
        const { read, written } = new TextEncoder().encodeInto(text, bytes);
        return [read, written, ...bytes];
      };
      return [into('abc', 5), into('aé', 2), 
        into('😀b', 4), into('😀b', 5), into('€', 0)];`),
  ).toEqual([
    [3, 3, 97, 98, 99, 0, 0],
    [1, 1, 97, 0],
    [2, 4, 240, 159, 152, 128],
    [3, 5, 240, 159, 152, 128, 98],
    [0, 0],
  ]);
});

/** Text that has every length of character, cut at each place by the tests below. */
const SAMPLE = '\ufeffa\0é€😀\u{10ffff}end';
const bytesOf = (text: string): string => JSON.stringify([...new TextEncoder().encode(text)]);

test('TextDecoder: a stream cut anywhere gives the text of the whole', async () => {
  expect(
    await evaluate(`const bytes = new Uint8Array(${bytesOf(SAMPLE)});
      const whole = new TextDecoder().decode(bytes);
      const odd = [];
      for (let cut = 0; cut <= bytes.length; cut++) {
        for (const ignoreBOM of [false, true]) {
          const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM });
          const text = decoder.decode(bytes.subarray(0, cut), { stream: true }) +
            decoder.decode(bytes.subarray(cut), { stream: true }) + decoder.decode();
          if (text !== (ignoreBOM ? '\\ufeff' : '') + whole) odd.push([cut, ignoreBOM, text]);
        }
      }
      return [whole, odd];`),
  ).toEqual([SAMPLE.slice(1), []]);
});

test('TextDecoder: byte for byte it says what the native one says', async () => {
  const cases = [
    [0xff],
    [0xe0, 0x80, 0x80],
    [0xed, 0xa0, 0x80],
    [0xf4, 0x90, 0x80, 0x80],
    [0xf0, 0x9f, 0x98],
    [0xc3],
    [0x61, 0xe2, 0x82],
    [0xef, 0xbb, 0xbf, 0xef, 0xbb, 0xbf],
    [0xf0, 0x41],
  ];
  const native = cases.map((bytes) => {
    const decoder = new TextDecoder();
    return (
      bytes.map((byte) => decoder.decode(Uint8Array.of(byte), { stream: true })).join('') +
      decoder.decode()
    );
  });
  expect(
    await evaluate(`return ${JSON.stringify(cases)}.map((bytes) => {
      const decoder = new TextDecoder();
      return bytes.map((one) => decoder.decode(Uint8Array.of(one), { stream: true })).join('') +
        decoder.decode();
    });`),
  ).toEqual(native);
});

test('TextDecoder: fatal throws a TypeError, and the decoder can be used again', async () => {
  expect(
    await thrownBy(`new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.of(255))`),
  ).toBe('TypeError: TextDecoder: the bytes are not utf-8');
  expect(
    await evaluate(`const decoder = new TextDecoder('utf8', { fatal: true });
      decoder.decode(Uint8Array.of(0xe2, 0x82), { stream: true });
      let thrown = false;
      try { decoder.decode() } catch { thrown = true }
      return [thrown, decoder.decode(Uint8Array.of(65)), decoder.fatal, decoder.ignoreBOM];`),
  ).toEqual([true, 'A', true, false]);
});

test('TextDecoder: utf-16le and latin1, by all their names, and no others', async () => {
  expect(
    await evaluate(`const utf16 = new TextDecoder('UTF-16');
      const bytes = Uint8Array.of(0xff, 0xfe, 0x3d, 0xd8, 0x00, 0xde, 0x61, 0x00);
      let text = '';
      for (const byte of bytes) text += utf16.decode(Uint8Array.of(byte), { stream: true });
      return [utf16.encoding, text + utf16.decode(),
        new TextDecoder('latin1').decode(Uint8Array.of(0xe9, 0x80)),
        new TextDecoder(' ASCII ').encoding];`),
  ).toEqual(['utf-16le', '😀a', 'é€', 'windows-1252']);
  expect(await thrownBy(`new TextDecoder('shift_jis')`)).toStartWith('RangeError');
  expect(await thrownBy(`new TextDecoder('no such')`)).toStartWith('RangeError');
});

test('TextDecoder reads views where they lie, and buffers', async () => {
  expect(
    await evaluate(`const { buffer } = Uint8Array.of(65, 66, 67, 68);
      return [buffer, new DataView(buffer, 1, 2), new Uint16Array(buffer, 2, 1), undefined]
        .map((source) => new TextDecoder().decode(source));`),
  ).toEqual(['ABCD', 'BC', 'CD', '']);
  expect(await thrownBy(`new TextDecoder().decode('text')`)).toStartWith('TypeError');
  expect(await thrownBy('new TextDecoder().decode([65])')).toStartWith('TypeError');
});

test('atob and btoa carry every byte, and refuse what they cannot', async () => {
  expect(
    await evaluate(`const all = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i));
      return [atob(btoa(all)) === all, btoa('\\0a'), atob(' YQ = = ').length, btoa('')];`),
  ).toEqual([true, 'AGE=', 1, '']);
  expect(await thrownBy(`btoa('€')`)).toStartWith('InvalidCharacterError');
  expect(await thrownBy(`atob('a')`)).toStartWith('InvalidCharacterError');
});

test('more than a MiB at once is refused', async () => {
  const limits = { memoryBytes: 64 * 1024 * 1024, cpuHardMs: 10_000 };
  expect(
    await evaluate(
      `const names = [];
      const long = 'x'.repeat(1024 * 1024 + 1);
      for (const use of [() => new TextEncoder().encode(long), () => btoa(long),
        () => new TextDecoder().decode(new Uint8Array(1024 * 1024 + 1)), () => new URL(long),
        () => new URLSearchParams(long)]) {
        try { use(); names.push('none') } catch (error) { names.push(error.name) }
      }
      return [...names, new TextEncoder().encode(long.slice(1)).length];`,
      { limits },
    ),
  ).toEqual([...Array(5).fill('RangeError'), 1024 * 1024]);
});
