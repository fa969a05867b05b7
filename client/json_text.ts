import { JsonReader } from '../protocol/json_reader.js';
import { type PlainValue, toPlain } from '../protocol/json_value.js';

/** Reads one JSON value, its integers exact (`number`, or `bigint` beyond 2^53). Throws an Error that says why it is none. */
export function parseJson(text: string): PlainValue {
  // A number or a bare word ends with the byte after it.
  const [first, ...more] = new JsonReader().feed(new TextEncoder().encode(`${text}\n`));
  if (first === undefined) throw new Error('it is not complete');
  if ('error' in first) throw new Error(first.error);
  if (more.length > 0) throw new Error('something follows it');
  return toPlain(first.value);
}
