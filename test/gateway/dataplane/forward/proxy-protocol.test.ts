import { describe, expect, test } from 'bun:test';
import { proxyHeader } from '../../../../src/gateway/dataplane/forward/proxy-protocol.ts';
import { FLOW_ROW_BYTES, FlowField } from '../../../../src/stack/flow-row.ts';
import { writeAddress } from '../../../../src/stack/wire/ip-address.ts';

function row(source: string, destination: string): DataView {
  const view = new DataView(new ArrayBuffer(FLOW_ROW_BYTES));
  view.setUint8(FlowField.FAMILY, writeAddress(source, view, FlowField.SOURCE));
  writeAddress(destination, view, FlowField.DESTINATION);
  view.setUint16(FlowField.SOURCE_PORT, 56324, true);
  view.setUint16(FlowField.DESTINATION_PORT, 443, true);
  return view;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

// The lines and layouts are those of the specification's sections 2.1 and 2.2.
describe('PROXY protocol', () => {
  test('version 1 is a line of text, for both families', () => {
    const text = (view: DataView) => new TextDecoder().decode(proxyHeader(1, view, 0));
    expect(text(row('192.168.0.1', '192.168.0.11'))).toBe(
      'PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n',
    );
    expect(text(row('fd00::1', 'fd00::2'))).toBe('PROXY TCP6 fd00::1 fd00::2 56324 443\r\n');
  });

  test('version 2 has the signature, the family, the length and the addresses', () => {
    expect(hex(proxyHeader(2, row('192.168.0.1', '192.168.0.11'), 0))).toBe(
      '0d0a0d0a000d0a515549540a2111000cc0a80001c0a8000bdc0401bb',
    );
    const six = proxyHeader(2, row('fd00::1', 'fd00::2'), 0);
    expect(hex(six.subarray(12, 16))).toBe('21210024');
    expect(six.length).toBe(16 + 36);
    expect(hex(six.subarray(48))).toBe('dc0401bb');
  });
});
