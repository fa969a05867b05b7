/** Reads what query-qmp-schema returns as a client does that knows QAPI and nothing of vmhostd. */

/** An entity of any kind, as it comes from a socket. */
export interface Entity {
  readonly name: string;
  readonly 'meta-type': string;
  readonly features?: readonly string[];
  readonly 'json-type'?: string;
  readonly 'element-type'?: string;
  readonly 'arg-type'?: string;
  readonly 'ret-type'?: string;
  readonly 'allow-oob'?: boolean;
  readonly tag?: string;
  readonly values?: readonly string[];
  readonly members?: ReadonlyArray<{ name?: string; type?: string; default?: unknown; features?: readonly string[] }>;
  readonly variants?: ReadonlyArray<{ case: string; type: string }>;
}

export class SchemaReader {
  readonly entities: ReadonlyMap<string, Entity>;

  constructor(entities: readonly Entity[]) {
    this.entities = new Map(entities.map((entity) => [entity.name, entity]));
  }

  get commands(): string[] {
    return this.#named('command');
  }

  get events(): string[] {
    return this.#named('event');
  }

  #named(kind: string): string[] {
    return [...this.entities.values()].filter((entity) => entity['meta-type'] === kind).map(({ name }) => name);
  }

  /** The entity of that name. @throws Error for a name that leads nowhere */
  find(name: string): Entity {
    const entity = this.entities.get(name);
    if (!entity) throw new Error(`the schema has no entity '${name}'`);
    return entity;
  }

  /** Names of the types that an entity refers to. */
  references(entity: Entity): string[] {
    const { members = [], variants = [] } = entity;
    const inMembers = entity['meta-type'] === 'enum' ? [] : members.map((member) => member.type as string);
    return [
      ...[entity['arg-type'], entity['ret-type'], entity['element-type']].filter((name) => name !== undefined),
      ...inMembers,
      ...variants.map(({ type }) => type),
    ];
  }

  /** Everything that commands and events lead to, themselves included. */
  reachable(): Set<string> {
    const reached = new Set<string>();
    const queue = [...this.commands, ...this.events];
    for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
      if (reached.has(name)) continue;
      reached.add(name);
      queue.push(...this.references(this.find(name)));
    }
    return reached;
  }

  /**
   * True when a path leads somewhere, as libvirt asks (virQEMUQAPISchemaPathGet): an entity, then members; `*member` is an
   * optional one, `+case` a variant, `^value` of an enum, `$feature`, `!builtin`. Lists are looked through.
   */
  has(path: string): boolean {
    const [first, ...rest] = path.split('/') as [string, ...string[]];
    let entity = this.entities.get(first);
    for (const step of rest) {
      while (entity?.['element-type'] !== undefined) entity = this.find(entity['element-type']);
      if (!entity) return false;
      if (step.startsWith('^')) return entity.values?.includes(step.slice(1)) ?? false;
      if (step.startsWith('$')) return entity.features?.includes(step.slice(1)) ?? false;
      if (step.startsWith('!')) return entity['json-type'] === step.slice(1);
      let next: string | undefined;
      if (step === 'arg-type' || step === 'ret-type') next = entity[step];
      else if (step.startsWith('+')) next = entity.variants?.find((variant) => variant.case === step.slice(1))?.type;
      else {
        const member = entity.members?.find(({ name }) => name === step.replace('*', ''));
        if (step.startsWith('*') && member && !('default' in member)) return false;
        next = member?.type;
      }
      entity = next === undefined ? undefined : this.find(next);
    }
    return entity !== undefined;
  }

  /**
   * What a command's or event's arguments and returns consist of: a line for each member, value, variant, branch and feature, with
   * its place, kind and whether it is optional.
   */
  shape(name: string): Set<string> {
    const lines = new Set<string>();
    const entity = this.find(name);
    if (entity['allow-oob']) lines.add(`${name} out of band`);
    for (const feature of entity.features ?? []) lines.add(`${name}$${feature}`);
    for (const part of ['arg-type', 'ret-type'] as const) {
      if (entity[part] !== undefined) this.#shape(entity[part], `${name}/${part}`, lines, []);
    }
    return lines;
  }

  #shape(type: string, at: string, lines: Set<string>, within: readonly string[]): void {
    if (within.includes(type)) return;
    const entity = this.find(type);
    const inner = [...within, type];
    lines.add(`${at}: ${entity['json-type'] ?? entity['meta-type']}`);
    for (const value of entity.values ?? []) lines.add(`${at}^${value}`);
    for (const feature of entity.features ?? []) lines.add(`${at}$${feature}`);
    if (entity['element-type'] !== undefined) this.#shape(entity['element-type'], `${at}[]`, lines, inner);
    for (const member of entity.members ?? []) {
      const optional = 'default' in member ? '*' : '';
      // A branch of an alternate has no name, a value of an enum no type.
      const place =
        member.type === undefined ? `${at}^${member.name}` : `${at}${member.name ? `/${optional}${member.name}` : '|'}`;
      for (const feature of member.features ?? []) lines.add(`${place}$${feature}`);
      if (member.type !== undefined) this.#shape(member.type, place, lines, inner);
    }
    for (const variant of entity.variants ?? []) this.#shape(variant.type, `${at}+${variant.case}`, lines, inner);
  }
}
