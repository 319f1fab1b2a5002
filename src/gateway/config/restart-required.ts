import { ConfigError } from './load.ts';

/** A config that a gateway which runs cannot take, however right it is. */
export class RestartRequiredError extends ConfigError {}
