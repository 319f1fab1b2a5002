import { expect, test } from 'bun:test';
import { ConfigError, type LoadedConfig, parseConfig } from '../../../src/gateway/config/load.ts';
import { HostRoutes } from '../../../src/gateway/routes/host-routes.ts';
import { RouteRecord } from '../../../src/gateway/routes/record.ts';
import { createLogger } from '../../../src/gateway/supervisor/log/logger.ts';

const loadedOf = (text: string): LoadedConfig => ({ config: parseConfig(text, 'c'), folder: '/' });

test('a record that cannot be kept refuses the config, and is no fault of the gateway', () => {
  const log = createLogger({ level: 'silent', format: 'json' });
  // Not a folder: no record can be read or written there.
  const record = new RouteRecord('/dev/null', 'none0');
  using routes = new HostRoutes(loadedOf(''), () => 'none0', record, log);
  const follow = () => routes.follow(loadedOf('routes: {auto: true, include: [203.0.113.0/24]}'));
  expect(follow).toThrow(ConfigError);
  expect(follow).toThrow('routes: /dev/null/routes-none0.lock: ENOTDIR');
});
