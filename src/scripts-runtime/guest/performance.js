/** `performance`: a clock that does not go back, too coarse to measure other scripts with. */
import { host } from './host.js';

class Performance {
  now() {
    return host.now();
  }
}
export const performance = new Performance();
