/** `atob` and `btoa`. */
import { ask, sendText } from './bytes.js';
import { DOMException } from './dom-exception.js';

const convert = (name, value, why) => {
  const result = ask(name, sendText(name, `${value}`));
  if (result === undefined) throw new DOMException(`${name}: ${why}`, 'InvalidCharacterError');
  return result;
};
export const atob = (text) => convert('atob', text, 'the text is not base64');
export const btoa = (text) => convert('btoa', text, 'a character is beyond U+00FF');
