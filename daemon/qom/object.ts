/** One object of the tree, and how paths lead to objects (qom/object.c of QEMU 7.2). */
import { glibHashOrder } from '../../protocol/glib_hash_order.js';
import { propertiesOf, type QomProperty } from './types.js';

/** Values of an object's properties, by name; one that is called is read anew each time. A link's value is the object or undefined. */
export interface QomValues {
  readonly [property: string]: unknown;
}

export class QomObject {
  readonly type: string;
  readonly #values: QomValues;
  readonly #children = new Map<string, QomObject>();
  #path = '/';

  constructor(type: string, values: QomValues = {}) {
    this.type = type;
    this.#values = values;
  }

  /** Canonical path. */
  get path(): string {
    return this.#path;
  }

  /** Adds a child of a name that is free; returns it. Children are added from the root down, so that paths are known. */
  add(name: string, child: QomObject): QomObject {
    this.#children.set(name, child);
    child.#path = `${this.#path === '/' ? '' : this.#path}/${name}`;
    return child;
  }

  /** What qom-list tells: the type's properties, then the children, in QEMU's order: it puts each that it finds in its table first. */
  get properties(): QomProperty[] {
    const own = propertiesOf(this.type).map(({ name, type }) => ({ name, type }));
    const names = glibHashOrder([...this.#children.keys()]).reverse();
    return [...own, ...names.map((name) => ({ name, type: `child<${this.#children.get(name)?.type}>` }))];
  }

  has(property: string): boolean {
    return this.#children.has(property) || propertiesOf(this.type).some(({ name }) => name === property);
  }

  /** A property's value as qom-get tells it: children and links by their paths. */
  get(property: string): unknown {
    if (property === 'type') return this.type;
    const value = this.#children.get(property) ?? this.#values[property];
    if (value instanceof QomObject) return value.path;
    // A link that leads nowhere.
    if (value === undefined) return '';
    return typeof value === 'function' ? value() : value;
  }

  /** The object below this one that the path's parts lead to, through children and links; empty parts stay where they are. */
  #descend(parts: readonly string[]): QomObject | undefined {
    let at: QomObject | undefined = this;
    for (const part of parts) {
      if (part === '') continue;
      const next: unknown = at.#children.get(part) ?? at.#values[part];
      if (!(next instanceof QomObject)) return undefined;
      at = next;
    }
    return at;
  }

  /** Every object that a partial path leads to, from this one or any below it. */
  #matches(parts: readonly string[]): QomObject[] {
    const here = this.#descend(parts);
    return [...(here ? [here] : []), ...[...this.#children.values()].flatMap((child) => child.#matches(parts))];
  }

  /** Resolves a path, from the root if it begins with a slash and else from anywhere. Called on the root. */
  resolve(path: string): QomObject | 'ambiguous' | undefined {
    const parts = path === '' ? [] : path.split('/');
    if (parts[0] === '') return this.#descend(parts);
    const [first, ...others] = this.#matches(parts);
    return others.length > 0 ? 'ambiguous' : first;
  }
}
