/** What the schema files may say, as types: the language is told in docs/decisions/0012. */

/** Notes for documentation and introspection. */
export interface Notes {
  readonly deprecated?: boolean;
  /** QAPI features other than `deprecated`. */
  readonly 'x-features'?: readonly string[];
  /** How this differs from QEMU 7.2, in a sentence. */
  readonly 'x-differs'?: string;
}

/** A member, item or type: the JSON Schema subset that the schema files use. */
export interface SchemaNode extends Notes {
  readonly $schema?: string;
  readonly title?: string;
  readonly description?: string;
  readonly type?: 'string' | 'boolean' | 'number' | 'integer' | 'null' | 'array' | 'object';
  /** QAPI kind of an integer, or `any`: a value of any kind. */
  readonly 'x-qapi'?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  /** What a member left out stands for. */
  readonly default?: unknown;
  readonly $ref?: string;
  readonly items?: SchemaNode;
  /** Values of an enum. */
  readonly oneOf?: ReadonlyArray<{ readonly const: string; readonly description: string } & Notes>;
  /** Branches of an alternate, which differ in their JSON types. */
  readonly anyOf?: readonly SchemaNode[];
  readonly properties?: { readonly [name: string]: SchemaNode };
  readonly required?: readonly string[];
  readonly additionalProperties?: false | SchemaNode;
  /** The member whose value chooses a variant of a flat union. */
  readonly 'x-discriminator'?: string;
  /** References to what a flat union has more, by value of the discriminator. */
  readonly 'x-variants'?: { readonly [value: string]: { readonly $ref: string } };
}

export interface CommandSchema extends Notes {
  readonly $schema?: string;
  readonly title: string;
  readonly description: string;
  readonly arguments: SchemaNode;
  readonly returns?: SchemaNode;
  /** Refusals of its own, besides those of its arguments. */
  readonly errors?: ReadonlyArray<{ readonly class: string; readonly description: string }>;
  readonly 'x-allow-oob'?: boolean;
}

export interface EventSchema extends Notes {
  readonly $schema?: string;
  readonly title: string;
  readonly description: string;
  readonly data?: SchemaNode;
}
