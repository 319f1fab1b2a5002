/** Maps the memory it inherits as descriptor 3, reads its first word and writes its second. */
import { SharedMemory } from '../../../src/ffi/memory.ts';

const INHERITED_FD = 3;

using memory = SharedMemory.map(INHERITED_FD, Number(process.argv[2]));
const words = new Int32Array(memory.buffer);
const seen = Atomics.load(words, 0);
Atomics.add(words, 1, seen * 2);
console.log(JSON.stringify({ seen }));
