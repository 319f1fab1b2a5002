import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { kernelFeatures } from '../../src/ffi/kernel-features.ts';
import { descriptorCount } from './support/descriptors.ts';
import { ip, isRoot, NetworkNamespace } from './support/namespace.ts';

test('the kernel is the one that uname names', () => {
  const uname = Bun.spawnSync(['uname', '-r']).stdout.toString().trim();
  expect(kernelFeatures()).toMatchObject({
    kernel: uname,
    tunDevice: existsSync('/dev/net/tun'),
  });
});

test.skipIf(!isRoot)('root finds what a TUN device can do, and leaves none behind', () => {
  using _namespace = new NetworkNamespace();
  const before = descriptorCount('/dev/net/tun');
  expect(kernelFeatures()).toMatchObject({
    netAdmin: true,
    tun: { vnetHeader: true, checksum: true, tso4: true, tso6: true },
  });
  expect(descriptorCount('/dev/net/tun')).toBe(before);
  expect(JSON.parse(ip('-json', 'link'))).toHaveLength(1);
});

test.skipIf(!isRoot)('anybody else learns nothing about TUN devices, and makes none', () => {
  const script = `${import.meta.dir}/../../src/ffi/kernel-features.ts`;
  const code = `import { kernelFeatures } from '${script}';
    process.setgid(65534); process.setuid(65534);
    console.log(JSON.stringify(kernelFeatures()));`;
  const { stdout } = Bun.spawnSync([process.execPath, '-e', code]);
  expect(JSON.parse(stdout.toString())).toMatchObject({ netAdmin: false, tun: null });
});
