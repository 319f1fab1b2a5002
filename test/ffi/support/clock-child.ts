import { monotonicNow } from '../../../src/ffi/clock.ts';

console.log(JSON.stringify(monotonicNow()));
